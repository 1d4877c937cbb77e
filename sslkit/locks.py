"""Exclusive locks on files; they end with the process that has them."""

from __future__ import annotations

import fcntl
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

ATTEMPTS = 1000
"""Attempts to lock a file while other processes check its lock; about 5 seconds."""


def try_lock(file: TextIO) -> bool:
    """Lock a file until it is closed; return False if another process has the lock.

    ``is_locked`` takes a shared lock for a moment. If a shared lock is available, no process has the exclusive one.

    Raises:
        OSError: the file system does not support locks.
    """
    for _ in range(ATTEMPTS):
        if _flock(file, fcntl.LOCK_EX):
            return True
        if not _flock(file, fcntl.LOCK_SH):
            return False
        fcntl.flock(file, fcntl.LOCK_UN)
        time.sleep(random.SystemRandom().uniform(0.001, 0.01))  # seeded generators would wait in step
    return False


@contextmanager
def exclusive(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Lock a file, creating it if needed; wait while another process has the lock.

    If the file cannot be created or locked, the block runs without a lock.

    Args:
        path: the file.
        on_wait: called once if another process has the lock.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open("a"))
            if not try_lock(file):
                on_wait()
                while not try_lock(file):
                    time.sleep(0.5)
        yield


def is_locked(path: Path) -> bool:
    """Return whether a process has the lock; True if that cannot be determined."""
    try:
        with path.open() as file:
            return not _flock(file, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _flock(file: TextIO, operation: int) -> bool:
    """Return whether a lock was acquired without waiting."""
    try:
        fcntl.flock(file, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
