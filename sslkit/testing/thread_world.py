"""Simulate processes with threads, for tests of components that use ``context.world``."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from sslkit.contracts.context import World

Result = TypeVar("Result")


class _Exchange:
    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size)
        self.slots: list[Tensor] = [torch.empty(0)] * size


class ThreadWorld(World):
    """World in which threads simulate processes.

    ``gather`` and ``sum`` do not detach the tensors of other threads, so that one backward pass computes the gradients
    of all threads.
    """

    def __init__(self, rank: int, size: int, exchange: _Exchange) -> None:
        self.rank = rank
        self.size = size
        self._exchange = exchange

    def gather(self, tensor: Tensor) -> Tensor:
        return torch.cat(self._swap(tensor))

    def sum(self, tensor: Tensor) -> Tensor:
        return torch.stack(self._swap(tensor)).sum(0)

    def max(self, tensor: Tensor) -> Tensor:
        return torch.stack(self._swap(tensor.detach())).amax(0)

    def _swap(self, tensor: Tensor) -> list[Tensor]:
        self._exchange.slots[self.rank] = tensor
        self._exchange.barrier.wait()
        tensors = list(self._exchange.slots)
        self._exchange.barrier.wait()
        return tensors


def run_in_threads(size: int, work: Callable[[World], Result]) -> list[Result]:
    """Run ``work(world)`` in ``size`` threads that simulate processes.

    Returns:
        The results of all threads, in order of rank.

    Raises:
        BaseException: the first exception of any thread.
    """
    exchange = _Exchange(size)
    results: list[Result | None] = [None] * size
    errors: list[BaseException] = []

    def run(rank: int) -> None:
        try:
            results[rank] = work(ThreadWorld(rank, size, exchange))
        except threading.BrokenBarrierError:
            pass
        except BaseException as error:
            errors.append(error)
            exchange.barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [result for result in results if result is not None]
