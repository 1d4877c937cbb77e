"""The network compiled by ``torch.compile``, and what that costs."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager

import torch

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.method import Method

BACKEND = "inductor"


class CompiledBackbones:
    """Compiles every backbone of a method, a teacher's too, when it is first called.

    Heads and losses stay as they are: they are small, and a stranger's may do what a compiler cannot follow.

    Args:
        method: the method; its names and state do not change.
    """

    def __init__(self, method: Method) -> None:
        for module in method.modules():
            if isinstance(module, Backbone):
                # For each size of views by itself: compiled for any size, as torch does from the second on, views of 32
                # and 18 pixels failed on an H200, in the backward pass of torch 2.11.
                module.compile(backend=BACKEND, dynamic=False)
        self.times: list[float] = []

    def stepped(self) -> str:
        """To be called when training starts and after each step: once it is known, what compiling cost, in words."""
        if len(self.times) == 3:
            return ""
        self.times.append(time.perf_counter())
        if len(self.times) < 3:
            return ""
        first, second = (self.times[place + 1] - self.times[place] for place in (0, 1))
        return (
            f"train.compile: compiling took {max(0.0, first - second):.1f} s of the first step, the next {second:.2f} s"
        )

    def paused(self) -> AbstractContextManager[None]:
        """Within it the network runs uncompiled: measuring between epochs would compile it again for other shapes."""
        stance: AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
        return stance
