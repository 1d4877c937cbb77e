"""Work on many files at once, with flat memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

PART = 16
"""Items that a thread takes at a time: one by one, handing over costs more than decoding a tiny image."""

AHEAD = 4
"""Parts for each thread whose results may wait to be taken."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(work: Callable[[Item], Result], items: Sequence[Item], ahead: int = 0) -> Iterator[Result]:
    """``work`` of every item, in their order, by as many threads as this process has CPUs.

    Threads suffice: reading, hashing and Pillow's decoding of all but tiny images run outside the interpreter's lock.
    They work on while the caller uses what it was given.

    Args:
        work: what is done with an item.
        items: the items.
        ahead: how many results may wait to be taken, at least; a few for each thread where that is more.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # not on every platform
    workers = len(affinity(0)) if affinity else os.cpu_count() or 1

    def work_all(start: int) -> list[Result]:
        return [work(item) for item in items[start : start + PART]]

    waiting: deque[Future[list[Result]]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for start in range(0, len(items), PART):
            waiting.append(pool.submit(work_all, start))
            if len(waiting) > max(AHEAD * workers, ahead // PART):
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
