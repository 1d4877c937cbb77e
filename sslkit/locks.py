"""Exclusive locks on files. A lock is released when its process ends."""

from __future__ import annotations

import fcntl
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

ATTEMPTS = 1000
"""Number of attempts to lock a file while other processes are checking the lock; all attempts together take about 5
seconds."""


def try_lock(file: TextIO) -> bool:
    """Try to lock a file exclusively until the file is closed; return whether this succeeds.

    An attempt also fails while another process calls ``is_locked``, which briefly holds a shared lock. To distinguish
    this case, the function tries to get a shared lock. If this succeeds, no process holds an exclusive lock, and the
    function tries again.

    Raises:
        OSError: the file system does not support locks.
    """
    for _ in range(ATTEMPTS):
        if _flock(file, fcntl.LOCK_EX):
            return True
        if not _flock(file, fcntl.LOCK_SH):
            return False
        fcntl.flock(file, fcntl.LOCK_UN)
        time.sleep(random.SystemRandom().uniform(0.001, 0.01))  # seeded generators would wait equally long
    return False


@contextmanager
def exclusive(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Lock a file during a ``with`` block, and create the file if needed. Wait while another process holds the lock.

    If the file cannot be created or locked, the block runs without a lock.

    Args:
        path: path of the file.
        on_wait: function to call once if another process holds the lock.
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
    """Return whether a process has locked the file; True if this cannot be determined."""
    try:
        with path.open() as file:
            return not _flock(file, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _flock(file: TextIO, operation: int) -> bool:
    """Try to acquire a lock without blocking; return whether the lock was acquired.

    ``operation`` is ``fcntl.LOCK_EX`` (exclusive) or ``fcntl.LOCK_SH`` (shared).
    """
    try:
        fcntl.flock(file, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
