"""What the commands share: where text goes, how tables and errors look, and the options they have in common."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sslkit.files import to_json

if TYPE_CHECKING:
    from rich.console import Console

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]

RunsOption = Annotated[
    Path | None, typer.Option("--runs", metavar="DIR", help="Folder of all runs (default: $SSLKIT_RUNS, else ./runs).")
]

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change a value of the recipe; repeat for more, in order."),
]


def output() -> Console:
    """Standard output, for results."""
    from rich.console import Console

    return Console(highlight=False)


def messages() -> Console:
    """Standard error, for everything that is not a result."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def fail(text: str) -> None:
    """Tell what went wrong."""
    from rich.text import Text

    console = messages()
    console.print(Text.assemble(("error: ", "bold red"), text), soft_wrap=True)


def interrupted() -> None:
    """Tell that the user stopped the command."""
    messages().print("interrupted")


def print_json(value: Any) -> None:
    """The one JSON value of a command with ``--json``."""
    sys.stdout.write(to_json(value, ascii_only=False) + "\n")


@contextmanager
def only_json(asked: bool) -> Iterator[None]:
    """With ``--json``: whatever else is printed while a command works, by a plugin say, goes to standard error."""
    with redirect_stdout(sys.stderr) if asked else nullcontext():
        yield


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on standard output; its first column is never cut."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    output().print(table)
