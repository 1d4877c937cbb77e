"""Find the finished run that a command needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sslkit.cli.common.console import print_text, stderr_console

if TYPE_CHECKING:
    from sslkit.runs.run import Run


def find_finished(spec: str | None, root: Path) -> Run:
    """Return the finished run that ``spec`` names, and print a note if a newer, unfinished run is skipped.

    Args:
        spec: ``RUN`` from the command line, see ``find_finished_run``.
        root: the folder of all runs.
    """
    from sslkit.runs.find import find_finished_run

    run, note = find_finished_run(spec, root)
    if note:
        print_text(stderr_console(), f"note: {note}")
    return run
