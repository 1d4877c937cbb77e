"""Error messages for files that could not be read or written during training."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from sslkit.errors import TrainingError
from sslkit.runs.run import Run
from sslkit.training.checkpoint.checkpoint_files import newest_valid

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a full disk, an exceeded quota or a file size limit."""

WRITE_ONLY = (*DISK_FULL, errno.EROFS)
"""Error numbers that only write operations raise."""


@contextmanager
def explain_file_errors(run: Run, step: int) -> Iterator[None]:
    """Convert an ``OSError`` in the ``with`` block to a ``TrainingError`` with the text of ``file_error_message``."""
    try:
        yield
    except OSError as error:
        raise TrainingError(file_error_message(run, step, error)) from error


def file_error_message(run: Run, step: int, error: OSError) -> str:
    """Return a message with the step, the file, the cause of the error and how to continue training."""
    where = f" ({error.filename})" if error.filename else ""
    remedy = "make room" if error.errno in DISK_FULL else "fix the cause"
    writing = error.errno in WRITE_ONLY or str(error.filename or "").startswith(str(run.path))
    action = "written" if writing else "read or written"
    newest, _ = newest_valid(run.checkpoints)
    then = f"then `sslkit resume {run.path}` continues from step {newest.step}" if newest else "then train it again"
    return (
        f"training stopped after step {step}: a file could not be {action}: {error.strerror or error}{where}; "
        f"{remedy}, {then}"
    )
