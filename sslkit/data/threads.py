"""Process items in background threads, with bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

CHUNK = 16
"""Number of items that a thread takes at a time, because passing single items costs more than decoding tiny images."""

CHUNKS_AHEAD = 4
"""Maximum number of finished chunks per thread that wait for the caller."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(function: Callable[[Item], Result], items: Sequence[Item], ahead: int = 0) -> Iterator[Result]:
    """Yield ``function(item)`` for each item in order, computed with one thread per available CPU core.

    Reading, hashing and Pillow's decoding release the interpreter lock, except for tiny images, so threads run in
    parallel. The threads continue while the caller is using earlier results.

    Args:
        function: function to apply to each item.
        items: the items.
        ahead: maximum number of items that the threads process in advance. Values below ``CHUNKS_AHEAD * CHUNK`` per
            thread have no effect.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # not on every platform
    workers = len(affinity(0)) if affinity else os.cpu_count() or 1

    def map_chunk(start: int) -> list[Result]:
        return [function(item) for item in items[start : start + CHUNK]]

    waiting: deque[Future[list[Result]]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for start in range(0, len(items), CHUNK):
            waiting.append(pool.submit(map_chunk, start))
            if len(waiting) > max(CHUNKS_AHEAD * workers, ahead // CHUNK):
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def prefetch(items: Iterator[Item], count: int) -> Iterator[Item]:
    """Yield all items in order, fetched in advance by a background thread.

    One thread is enough, because the interpreter lock is not held while items are copied from a mapped file or pinned.

    Args:
        items: source of the items; the caller must not read from this source.
        count: maximum number of items fetched in advance.
    """

    def fetch() -> tuple[Item, ...]:
        return tuple(islice(items, 1))

    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as thread:
        pending: deque[Future[tuple[Item, ...]]] = deque(thread.submit(fetch) for _ in range(count))
        try:
            while item := pending.popleft().result():
                pending.append(thread.submit(fetch))
                yield item[0]
        finally:
            for future in pending:
                future.cancel()
