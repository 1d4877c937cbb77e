"""What is said where a training could not read or write a file."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from sslkit.errors import TrainingError
from sslkit.runs.run import Run
from sslkit.training.checkpoint.files import newest_valid

WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Errors that only writing meets."""


@contextmanager
def writing(run: Run, step: int) -> Iterator[None]:
    """What is written before the training begins."""
    try:
        yield
    except OSError as error:
        raise TrainingError(explain(run, step, error)) from error


def explain(run: Run, step: int, error: OSError) -> str:
    """What happened after a step, to which file, and how to go on."""
    where = f" ({error.filename})" if error.filename else ""
    remedy = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "see to that"
    wrote = error.errno in WRITING or str(error.filename or "").startswith(str(run.path))
    what = "written" if wrote else "read or written"
    kept, _ = newest_valid(run.checkpoints)
    then = f"then `sslkit resume {run.path}` goes on from step {kept.step}" if kept else "then train it again"
    return (
        f"training stopped after step {step}, a file could not be {what}: {error.strerror or error}{where}; "
        f"{remedy}, {then}"
    )
