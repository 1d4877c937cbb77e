"""Fetching what comes next while the present is worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")


def prefetch(items: Iterator[Item], count: int) -> Iterator[Item]:
    """The same items in the same order, fetched by a thread of their own.

    One thread suffices: copying from a mapped file, and pinning, run outside the interpreter's lock.

    Args:
        items: what is fetched; nobody else may ask it.
        count: how many are fetched before they are asked for, at most.
    """

    def fetch() -> tuple[Item, ...]:
        return tuple(islice(items, 1))

    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as thread:
        pending: deque[Future[tuple[Item, ...]]] = deque(thread.submit(fetch) for _ in range(count))
        try:
            while found := pending.popleft().result():
                pending.append(thread.submit(fetch))
                yield found[0]
        finally:
            for each in pending:
                each.cancel()
