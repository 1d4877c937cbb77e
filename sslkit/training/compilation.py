"""Compile backbones with ``torch.compile`` and measure the compile time."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager

import torch

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.method import Method

BACKEND = "inductor"


class CompiledBackbones:
    """The backbones of a method, including a teacher's backbone; each backbone is compiled on its first call.

    Heads and losses are not compiled, because they are small and the compiler may fail on third-party code.

    Args:
        method: the method; compilation does not change its parameter names or state dict.
    """

    def __init__(self, method: Method) -> None:
        for module in method.modules():
            if isinstance(module, Backbone):
                # One graph per view size. With dynamic shapes (torch's default after the first size), the backward
                # pass of views of 32 and 18 pixels failed on an H200 with torch 2.11.
                module.compile(backend=BACKEND, dynamic=False)
        self.step_times: list[float] = []

    def step_ended(self) -> str:
        """Record the time of a step; after the second step, return a sentence about the compile time, else "".

        The compile time is the difference between the durations of the first and the second step. Call this method when
        training starts and after each step.
        """
        if len(self.step_times) == 3:
            return ""
        self.step_times.append(time.perf_counter())
        if len(self.step_times) < 3:
            return ""
        start, after_first, after_second = self.step_times
        first, second = after_first - start, after_second - after_first
        return (
            f"train.compile: compiling took {max(0.0, first - second):.1f} s of the first step, the next {second:.2f} s"
        )

    def disabled(self) -> AbstractContextManager[None]:
        """Return a context manager in which backbones run without compilation."""
        stance: AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
        return stance
