"""Backbones compiled by ``torch.compile``, and the time that compiling takes."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager

import torch

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.method import Method

BACKEND = "inductor"


class CompiledBackbones:
    """All backbones of a method, a teacher's included, compiled at their first call.

    Heads and losses are not compiled: they are small, and third-party ones may do what the compiler cannot trace.

    Args:
        method: the method; its parameter names and state do not change.
    """

    def __init__(self, method: Method) -> None:
        for module in method.modules():
            if isinstance(module, Backbone):
                # One graph per view size. With dynamic shapes, torch's default from the second size on, the backward
                # pass of views of 32 and 18 pixels failed on an H200 with torch 2.11.
                module.compile(backend=BACKEND, dynamic=False)
        self.step_times: list[float] = []

    def step_ended(self) -> str:
        """Record the time; return a note on the cost of compiling after the second step, else an empty string.

        Call it when training starts and after each step.
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
        """Run the network uncompiled inside a ``with`` block."""
        stance: AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
        return stance
