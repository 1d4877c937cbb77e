"""Arguments and options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sslkit.cli.common import completion

JsonOption = Annotated[bool, typer.Option("--json", help="Print only JSON on standard output.")]

RunsOption = Annotated[
    Path | None, typer.Option("--runs", metavar="DIR", help="Folder of all runs (default: $SSLKIT_RUNS, else ./runs).")
]


def run_argument(text: str) -> Any:
    """Return the typer argument RUN of a command; ``text`` is its help text."""
    return typer.Argument(metavar="RUN", help=text, autocompletion=completion.runs)


RunArgument = Annotated[str | None, run_argument("Run: folder, NAME/ID, NAME or ID (default: the latest run).")]

FinishedRunArgument = Annotated[
    str | None, run_argument("Run: folder, NAME/ID, NAME or ID (default: the newest finished run).")
]

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PATH=VALUE", help="Change a recipe value; repeatable. Later changes replace earlier ones."
    ),
]

DeviceOption = Annotated[Literal["auto", "cpu", "cuda", "mps"], typer.Option("--device", help="Device to compute on.")]
