"""The ``sslkit`` command: its subcommands, and how every error reaches the user."""

from __future__ import annotations

import sys
from typing import Annotated

import click
import typer

from sslkit.cli import evaluate, plugins, recipes, resume, runs, train
from sslkit.cli.console import fail, interrupted
from sslkit.errors import SslkitError

app = typer.Typer(
    name="sslkit",
    help="Self-supervised image learning on your own pictures: recipes, plugins, honest figures.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.command)
app.command("resume")(resume.command)
app.command("eval")(evaluate.command)
app.add_typer(plugins.app, name="plugins")
app.add_typer(recipes.app, name="recipes")
app.add_typer(runs.app, name="runs")


def _version(asked: bool) -> None:
    if asked:
        from sslkit import __version__

        typer.echo(f"sslkit {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 the input is wrong, 130 interrupted."""
    try:
        code = app(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except SslkitError as error:
        fail(str(error))
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        interrupted()
        sys.exit(130)
    except BrokenPipeError:
        # The reader has gone (`sslkit ... | head`); there is nobody left to tell.
        sys.stderr.close()
        sys.exit(1)


if __name__ == "__main__":
    main()
