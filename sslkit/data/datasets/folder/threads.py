"""Work on many files at once, with flat memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

PART = 16
"""Items that a thread takes at a time: one by one, handing over costs more than decoding a tiny image."""

AHEAD = 4
"""Parts for each thread whose results may wait to be taken."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """``work`` of every item, in their order, by as many threads as this process has CPUs.

    Threads suffice: reading, hashing and Pillow's decoding of all but tiny images run outside the interpreter's lock.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # not on every platform
    workers = len(affinity(0)) if affinity else os.cpu_count() or 1
    parts = [items[start : start + PART] for start in range(0, len(items), PART)]

    def work_all(part: Sequence[Item]) -> list[Result]:
        return [work(item) for item in part]

    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(parts), AHEAD * workers):
            for results in pool.map(work_all, parts[start : start + AHEAD * workers]):
                yield from results
