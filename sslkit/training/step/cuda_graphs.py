"""Capture functions as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeVar

import torch

Result = TypeVar("Result")


class Graphs(Protocol):
    """Interface of ``CudaGraphs``, which tests replace with an implementation for the CPU."""

    def eager(self) -> AbstractContextManager[None]:
        """Return a context manager for steps without capture, which must run on the stream of later captures."""

    def capture(self, function: Callable[[], Result]) -> tuple[Callable[[], None], Result]:
        """Return a function that replays the work of ``function`` on the device, and the result of ``function``.

        ``function`` runs once on the host; the device does its work only in a replay. Each replay overwrites the
        tensors of the result.
        """

    def memory(self) -> int:
        """Return the number of bytes reserved on the device."""


class CudaGraphs:
    """Captures functions as CUDA graphs on a side stream, with a private memory pool for each graph."""

    def __init__(self) -> None:
        self.stream = torch.cuda.Stream()

    @contextmanager
    def eager(self) -> Iterator[None]:
        """Run the ``with`` block on the stream of later captures, in order with the work on the current stream.

        Autograd remembers the stream of each parameter's first gradient, which must be the stream of the capture.
        """
        current = torch.cuda.current_stream()
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            yield
        current.wait_stream(self.stream)

    def capture(self, function: Callable[[], Result]) -> tuple[Callable[[], None], Result]:
        """Capture ``function``; see ``Graphs.capture``."""
        graph = torch.cuda.CUDAGraph()
        # "thread_local", because other threads may use the GPU during the capture.
        capture = torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local")
        # The outer context restores the stream even if the end of a failed capture raises an error.
        with torch.cuda.stream(self.stream), capture:
            result = function()
        return graph.replay, result

    def memory(self) -> int:
        """Return the number of bytes that PyTorch has reserved on the GPU."""
        return torch.cuda.memory_reserved()
