"""Code that ``sslkit predict`` and ``sslkit embed`` share: arguments, progress bar and result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sslkit.cli.common.console import print_json, print_line, print_message, stderr_console
from sslkit.cli.common.options import run_argument

if TYPE_CHECKING:
    from sslkit.inference.predict import InferenceResult

RequiredRunArgument = Annotated[
    str, run_argument("Run: folder, NAME/ID, NAME, ID, or latest for the newest finished run.")
]

ImagesArgument = Annotated[Path, typer.Argument(help="A folder of images, searched recursively, or one image.")]

OutOption = Annotated[Path, typer.Option("--out", metavar="FILE", help="Table to write.")]

ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite an existing table.")]


@contextmanager
def progress_bar(*, disable: bool) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on a terminal, unless ``disable`` is set.

    Yield a function that updates the bar, given the number of finished files and the total.
    """
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from sslkit.cli.common.progress import full_width_bar

    console = stderr_console()
    columns = (full_width_bar(), MofNCompleteColumn(), TimeRemainingColumn())
    hidden = disable or not console.is_terminal
    with Progress(*columns, console=console, transient=True, expand=True, disable=hidden) as bars:
        task = bars.add_task("", total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def print_result(result: InferenceResult, *, as_json: bool) -> None:
    """Print the path of the written table, the number of images, and the broken files."""
    from sslkit.data.datasets.folder.scan import printable

    if as_json:
        broken_file = None if result.broken_file is None else str(result.broken_file)
        counts = {"file": str(result.file), "images": result.images, "broken": result.broken}
        print_json(counts | {"broken_file": broken_file, "notes": list(result.notes)})
        return
    for note in result.notes:
        print_message(f"note: {note}")
    if result.broken:
        count = f"{result.broken} of {result.images + result.broken} files"
        print_message(f"{count} cannot be read and are left out; all are listed in {result.broken_file}:")
        for path, reason in result.examples:
            print_message(f"  {printable(path)}: {printable(reason)}")
        if result.broken > len(result.examples):
            print_message(f"  and {result.broken - len(result.examples)} more")
    print_line(f"{result.file}: {result.images} images")
