"""The ``sslkit`` command: its subcommands and error handling."""

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
    embed,
    evaluate,
    explore,
    export,
    init,
    label,
    methods,
    plugins,
    predict,
    recipes,
    report,
    resume,
    runs,
    train,
)
from sslkit.cli.__main__ import CLOSED_PIPE
from sslkit.cli.common.console import print_error, print_message
from sslkit.errors import SslkitError


class Commands(TyperGroup):
    """Command group that turns exceptions into error messages and exit codes.

    Exit codes: 0 success, 1 failure, 2 invalid input, 130 interrupted, 141 closed pipe (``sslkit ... | head``).
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except SslkitError as error:
            print_error(str(error))
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            print_message("interrupted")
            raise typer.Exit(130) from error
        except BrokenPipeError as error:
            _discard_output()
            raise typer.Exit(CLOSED_PIPE) from error
        except OSError as error:
            where = "" if error.filename is None else f": {error.filename}"
            print_error(f"reading or writing failed: {error.strerror or error}{where}")
            _discard_output()
            raise typer.Exit(1) from error


def _discard_output() -> None:
    """Redirect standard output to the null device after a failed write, because flushing at exit would fail as well."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


app = typer.Typer(
    name="sslkit",
    cls=Commands,
    help="Self-supervised image learning on your own images, with recipes, plugins and reproducible results.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("init")(init.command)
app.command("train")(train.command)
app.command("resume")(resume.command)
app.command("eval")(evaluate.command)
app.command("compare")(compare.command)
app.command("predict")(predict.command)
app.command("embed")(embed.command)
app.command("report")(report.command)
app.command("explore")(explore.command)
app.command("label")(label.command)
app.command("export")(export.command)
app.command("doctor")(doctor.command)
app.command("bench")(bench.command)
app.add_typer(methods.app, name="methods")
app.add_typer(cache.app, name="cache")
app.add_typer(plugins.app, name="plugins")
app.add_typer(recipes.app, name="recipes")
app.add_typer(runs.app, name="runs")


def _print_version(requested: bool) -> None:
    if requested:
        from sslkit import __version__

        typer.echo(f"sslkit {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass
