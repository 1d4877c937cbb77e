"""The ``sslkit`` command: its subcommands, and how every error reaches the user."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sslkit.cli import (
    bench,
    cache,
    compare,
    doctor,
    evaluate,
    export,
    files,
    init,
    label,
    plugins,
    recipes,
    report,
    resume,
    runs,
    train,
)
from sslkit.cli.common.console import fail, interrupted
from sslkit.errors import SslkitError


class Commands(TyperGroup):
    """Runs a subcommand, and turns what stops it into a message and an exit code.

    0 done, 1 failed, 2 the user's input is wrong, 130 interrupted.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except SslkitError as error:
            fail(str(error))
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            interrupted()
            raise typer.Exit(130) from error
        except OSError as error:
            # A reader that has gone (`sslkit ... | head`) need not be told.
            if not isinstance(error, BrokenPipeError):
                where = "" if error.filename is None else f": {error.filename}"
                fail(f"reading or writing failed: {error.strerror or error}{where}")
            # What could not be written, the flush at exit must not try again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from error


app = typer.Typer(
    name="sslkit",
    cls=Commands,
    help="Self-supervised image learning on your own pictures: recipes, plugins, honest figures.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("init")(init.command)
app.command("train")(train.command)
app.command("resume")(resume.command)
app.command("eval")(evaluate.command)
app.command("compare")(compare.command)
app.command("predict")(files.predict)
app.command("embed")(files.embed)
app.command("report")(report.command)
app.command("label")(label.command)
app.command("export")(export.command)
app.command("doctor")(doctor.command)
app.command("bench")(bench.command)
app.add_typer(cache.app, name="cache")
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
