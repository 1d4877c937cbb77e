"""Files that one process has to itself, for as long as it lives."""

from __future__ import annotations

import fcntl
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

LOOKS = 1000
"""How often to try again while others look whether a file is held: some five seconds."""


def hold(file: TextIO) -> bool:
    """Take the lock that only one process can have, until the file is closed; False where another has it.

    Those who only look share a lock for a moment: where one can be shared, nobody has the other.

    Raises:
        OSError: the file system has no locks.
    """
    for _ in range(LOOKS):
        if _take(file, fcntl.LOCK_EX):
            return True
        if not _take(file, fcntl.LOCK_SH):
            return False
        fcntl.flock(file, fcntl.LOCK_UN)
        time.sleep(random.SystemRandom().uniform(0.001, 0.01))  # whatever is seeded, no two wait alike
    return False


@contextmanager
def alone(path: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Be the only process that has a file, which is made; waits as long as another does.

    Where the file cannot be made, or the file system has no locks, nobody waits.

    Args:
        path: the file.
        wait: called once, where another process has it.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open("a"))
            if not hold(file):
                wait()
                while not hold(file):
                    time.sleep(0.5)
        yield


def is_locked(path: Path) -> bool:
    """Whether a process has the file to itself; who is not allowed to look, or has no locks, takes it for held."""
    try:
        with path.open() as file:
            return not _take(file, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _take(file: TextIO, lock: int) -> bool:
    """Whether a lock could be had at once."""
    try:
        fcntl.flock(file, lock | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
