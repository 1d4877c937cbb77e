"""Write the table of the files that ``predict`` and ``embed`` cannot read."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from sslkit.data.datasets.folder.scan import printable
from sslkit.errors import DataError
from sslkit.files import open_atomic
from sslkit.inference.resumable_job import ResumableJob
from sslkit.inference.tables import file_cell, text_cell, write_rows

MAX_EXAMPLES = 100
"""Largest number of unreadable files in ``InferenceResult.examples``."""


def write_broken_file(path: Path, job: ResumableJob, images: Path) -> tuple[int, list[tuple[str, str]]]:
    """Write the table of unreadable files, if there are any.

    Returns:
        The number of unreadable files, and a path and a reason for each of the first few.

    Raises:
        DataError: all files are unreadable. No table is written.
    """
    count = 0
    examples: list[tuple[str, str]] = []
    with ExitStack() as stack:
        file: BinaryIO | None = None
        for broken in job.load_broken():
            if broken and file is None:
                file = stack.enter_context(open_atomic(path))
                write_rows(file, [("file", "reason")])
            if file is not None:
                write_rows(file, ((file_cell(name), text_cell(reason)) for name, reason in broken.items()))
            examples += list(broken.items())[: MAX_EXAMPLES - len(examples)]
            count += len(broken)
        if count == len(job.files):
            job.delete_chunks()
            first = ": ".join(map(printable, examples[0]))
            raise DataError(f"none of the {count} images in {images} can be read; the first is {first}")
    if not count:
        path.unlink(missing_ok=True)  # may exist from an earlier call, before the files were repaired
    return count, examples
