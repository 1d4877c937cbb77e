"""What the commands share: where text goes, how tables and errors look, and the options they have in common."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sslkit.cli.common import completion
from sslkit.files import to_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PIPED_WIDTH = 120
"""Columns that prose is folded to where there is no terminal."""

GAP, EDGES = 3, 2
"""Screen columns between two of a table, and at its edges."""

READABLE = 40
"""Narrowest column that prose is folded to."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]

RunsOption = Annotated[
    Path | None, typer.Option("--runs", metavar="DIR", help="Folder of all runs (default: $SSLKIT_RUNS, else ./runs).")
]

RunArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN",
        help="The run: its folder, NAME/ID, NAME or ID (default: the latest).",
        autocompletion=completion.runs,
    ),
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
    """Tell what went wrong, and in which process where torchrun or SLURM started several."""
    from rich.text import Text

    console = messages()
    place = os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or "0"
    process = "" if place == "0" else f"process {place}: "
    console.print(Text.assemble(process, ("error: ", "bold red"), text), soft_wrap=True)


def interrupted() -> None:
    """Tell that the user stopped the command."""
    messages().print("interrupted")


def print_json(value: Any) -> None:
    """The one JSON value of a command with ``--json``."""
    sys.stdout.write(to_json(value, ascii_only=False) + "\n")


def say(console: Console, text: str, style: str = "") -> None:
    """A line of prose: folded between words on a terminal, whole where it goes to a file.

    What holds a word that is longer than the screen, a path say, is left to the terminal, so that it can be copied.
    """
    from rich.text import Text

    whole = not console.is_terminal or _longest_word(text) > console.width
    console.print(Text(text, style=style), soft_wrap=whole)


@contextmanager
def only_json(asked: bool) -> Iterator[None]:
    """With ``--json``: whatever else is printed while a command works, by a plugin say, goes to standard error."""
    with redirect_stdout(sys.stderr) if asked else nullcontext():
        yield


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], optional: int = 0) -> None:
    """A table on standard output, in a form that its width allows; no word is ever broken.

    On a terminal that is too narrow the last columns are left out, then the widest is folded, then each row becomes
    a block.  Where nobody's screen is known, in a pipe or a file, a row stays a line unless it holds prose.

    Args:
        title: printed above; may be empty.
        columns: their names.
        rows: cells of each row.
        optional: how many columns, from the last, may be left out.
    """
    from rich.cells import cell_len

    console = output()
    cells = [[str(cell) for cell in row] for row in rows]
    room = (console.width if console.is_terminal else PIPED_WIDTH) - EDGES

    def widths(count: int) -> list[int]:
        return [
            max([_longest_word(columns[place]), *(cell_len(row[place]) for row in cells)]) for place in range(count)
        ]

    shown = len(columns)
    while console.is_terminal and optional and sum(widths(shown)) + GAP * (shown - 1) > room:
        shown, optional = shown - 1, optional - 1
    needed = widths(shown)
    widest = max(range(shown), key=lambda place: needed[place])
    left = room - (sum(needed) + GAP * (shown - 1) - needed[widest])
    words = max([_longest_word(row[widest]) for row in cells], default=0)
    if left < needed[widest] and left >= max(words, READABLE):
        needed[widest] = left
    elif left < needed[widest] and console.is_terminal:
        _print_blocks(console, title, columns, cells)
        return
    console.width = max(console.width, sum(needed) + GAP * shown)
    console.print(_table(title, columns[:shown], cells, needed))


def _longest_word(text: str) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, text.split()), default=0)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column, width=width)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row[: len(columns)]))
    return table


def _print_blocks(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Each row as a block: its first cell, and below it the others by name."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    if title:
        console.print(Text(title, style="bold"))
    for first, *others in rows:
        console.print()
        if first:
            console.print(Text(first, style="bold"))
        block = Table.grid(padding=(0, 2, 0, 0))
        block.add_column(max_width=console.width // 2)
        block.add_column(overflow="fold")
        for name, cell in zip(columns[1:], others, strict=True):
            if cell:
                block.add_row(Text(name, style="dim"), Text(cell))
        console.print(Padding(block, (0, 0, 0, 2), expand=False))
    console.print()
