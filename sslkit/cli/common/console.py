"""Print results to standard output and messages to standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import TYPE_CHECKING, Any

from sslkit.files import to_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PIPED_WIDTH = 120
"""Width of a table, in characters, when the output is not a terminal."""

GAP, EDGES = 3, 2
"""Width of the gap between two columns of a table, and of the table's edges, in characters."""

MIN_FOLDED_WIDTH = 40
"""Smallest width, in characters, at which the text in a table column is wrapped."""


def stdout_console() -> Console:
    """Return a console for results, on standard output."""
    from rich.console import Console

    return Console(highlight=False)


def stderr_console() -> Console:
    """Return a console for messages, on standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def print_error(text: str) -> None:
    """Print an error message. If torchrun or SLURM started the process with a rank above 0, print the rank as well."""
    from rich.text import Text

    rank = os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or "0"
    process = "" if rank == "0" else f"process {rank}: "
    stderr_console().print(Text.assemble(process, ("error: ", "bold red"), text), soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a command's result as JSON on standard output."""
    sys.stdout.write(to_json(value, ascii_only=False) + "\n")


def print_text(console: Console, text: str, style: str = "") -> None:
    """Print text, wrapped between words on a terminal.

    Text with a word wider than the terminal, such as a path, is not wrapped, so that users can copy the word. ``style``
    is a Rich style, such as ``bold``.
    """
    from rich.text import Text

    unfolded = not console.is_terminal or _longest_word(text) > console.width
    console.print(Text(text, style=style), soft_wrap=unfolded)


def print_line(text: str, style: str = "") -> None:
    """Print a result on standard output without wrapping, so that users can copy paths and commands.

    ``style`` is a Rich style, such as ``bold``.
    """
    stdout_console().print(text, style=style or None, markup=False, soft_wrap=True)


def print_message(text: str) -> None:
    """Print a message on standard error without wrapping."""
    stderr_console().print(text, markup=False, soft_wrap=True)


@contextmanager
def reserve_stdout(as_json: bool) -> Iterator[None]:
    """With ``as_json``, redirect standard output to standard error, so that plugins cannot print into the JSON."""
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        yield


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], optional: int = 0) -> None:
    """Print a table that fits the width of the output, without breaking words.

    On a narrow terminal, optional columns are dropped first. If the table is still too wide, the widest column is
    wrapped. If that is not enough, each row becomes a block of lines. In a pipe or a file, only the widest column is
    wrapped.

    Args:
        title: title above the table; may be empty.
        columns: names of the columns.
        rows: cells of each row.
        optional: number of columns, counted from the right, that may be dropped.
    """
    from rich.cells import cell_len

    console = stdout_console()
    cells = [[str(cell) for cell in row] for row in rows]
    available = (console.width if console.is_terminal else PIPED_WIDTH) - EDGES

    def column_widths(count: int) -> list[int]:
        return [
            max([_longest_word(columns[column]), *(cell_len(row[column]) for row in cells)]) for column in range(count)
        ]

    shown = len(columns)
    while console.is_terminal and optional and sum(column_widths(shown)) + GAP * (shown - 1) > available:
        shown, optional = shown - 1, optional - 1
    widths = column_widths(shown)
    widest = max(range(shown), key=lambda column: widths[column])
    room = available - (sum(widths) + GAP * (shown - 1) - widths[widest])
    longest_word = max([_longest_word(row[widest]) for row in cells], default=0)
    if room < widths[widest] and room >= max(longest_word, MIN_FOLDED_WIDTH):
        widths[widest] = room
    elif room < widths[widest] and console.is_terminal:
        _print_blocks(console, title, columns, cells)
        return
    console.width = max(console.width, sum(widths) + GAP * shown)
    console.print(_table(title, columns[:shown], cells, widths))


def _longest_word(text: str) -> int:
    """Return the width of the longest word of a text, in characters."""
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
    """Print each row as a block of lines: the first cell as the title, then every other cell with its column name."""
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
