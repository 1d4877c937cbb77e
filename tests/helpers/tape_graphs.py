"""Stand-in for CUDA graphs on the CPU: a tape of operators that is replayed without Python code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Result = TypeVar("Result")


class Tape(TorchDispatchMode):
    """Context manager that records operators. ``play`` runs them again on the same memory, like a CUDA graph.

    Attributes:
        memory: addresses of all memory that the operators read or write.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.memory: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.memory |= storages((args, kwargs, result))
        if not func.is_view and not func._schema.name.startswith("profiler::"):
            self.calls.append((func, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def play(self) -> None:
        """Run all operators with the same arguments, and write their results to the memory of the first results."""
        for func, args, kwargs, result in self.calls:
            for old, new in zip(_tensors(result), _tensors(func(*args, **kwargs)), strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _tensors(each)


def storages(value: Any) -> set[int]:
    """Return the addresses of the memory of all tensors in nested containers."""
    return {tensor.untyped_storage().data_ptr() for tensor in _tensors(value) if tensor.numel()}


class TapeGraphs(TorchDispatchMode):
    """Graphs that run on the CPU. As a context manager, it also records the host's work on the device's memory.

    The memory of the latest tape counts as the memory of the device.

    Attributes:
        tapes: the recorded tapes.
        launches: number of replays.
        host_work: operators outside the replays that read or wrote the device's memory since ``start_interval``.
        recorded_tape: whether a tape was recorded since ``start_interval``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tapes: list[Tape] = []
        self.launches = 0
        self.is_playing = False
        self.start_interval()

    def start_interval(self) -> None:
        """Forget the recorded work."""
        self.host_work: list[str] = []
        self.recorded_tape = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        is_work = not func.is_view and not self.is_playing and self.tapes
        if is_work and storages((args, kwargs, result)) & self.tapes[-1].memory:
            self.host_work.append(func._schema.name)
        return result

    @contextmanager
    def eager(self) -> Iterator[None]:
        yield

    def capture(self, function: Callable[[], Result]) -> tuple[Callable[[], None], Result]:
        """Record a tape. Recording computes the results already, so the first replay does nothing."""
        with Tape() as tape:
            result = function()
        self.tapes.append(tape)
        self.recorded_tape = True
        is_computed = [True]

        def replay() -> None:
            self.launches += 1
            if is_computed:
                is_computed.pop()
                return
            self.is_playing = True
            tape.play()
            self.is_playing = False

        return replay, result

    def memory(self) -> int:
        return 0
