"""Conformance tests for losses: values do not depend on how processes divide a batch, and declared invariances hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor

from sslkit.contracts.context import World
from sslkit.testing.base import require
from sslkit.testing.loss_inputs import (
    LossInputs,
    RandomBranch,
    reverse_classes,
    reverse_first_views,
    reverse_images,
    rotate_embeddings,
    scale_embeddings,
)
from sslkit.testing.thread_world import run_in_threads

Invariance = Literal["images", "global views", "classes", "rotation", "scale"]

TOLERANCE = 1e-6
"""Absolute and relative tolerance when losses and gradients are compared in float64."""

GLOBAL_BATCH_ADVICE = (
    "use context.world (gather, sum, max) for values of the global batch, "
    "or set uses_global_batch = False and document it"
)


class GlobalBatchTests(LossInputs):
    """Conformance tests that compare the values of a loss for equivalent global batches.

    Attributes:
        invariances: frozenset of names of input changes that do not change the loss. ``"images"``, ``"global views"``
            and ``"classes"`` reverse the order of the images (with their indices), global views or classes.
            ``"rotation"`` rotates all embeddings and prototypes. ``"scale"`` multiplies all embeddings by 3. Default:
            ``{"images"}``.
    """

    invariances: ClassVar[frozenset[Invariance]] = frozenset({"images"})

    def test_several_processes_give_the_loss_of_the_global_batch(self) -> None:
        if not self.component.uses_global_batch:
            return
        steps = 3
        single = [self.random_branches(step) for step in range(steps)]
        loss = self.build()
        losses = [loss(self.view_outputs(branches, step)).total for step, branches in enumerate(single)]
        torch.stack(losses).sum().backward()

        split = [self.random_branches(step) for step in range(steps)]
        half = self.make_context().batch_size // 2

        def work(world: World) -> list[Tensor]:
            own = self.build(world)
            images = slice(world.rank * half, (world.rank + 1) * half)
            return [own(self.view_outputs(branches, step, images)).total for step, branches in enumerate(split)]

        means = [torch.stack(totals).mean() for totals in zip(*run_in_threads(2, work), strict=True)]
        for step, (mean, expected) in enumerate(zip(means, losses, strict=True)):
            close = torch.allclose(mean, expected, rtol=TOLERANCE, atol=TOLERANCE)
            values = f"{mean.item():.6f} in step {step}, that of one process is {expected.item():.6f}"
            require(close, f"the mean loss of two processes is {values}: {GLOBAL_BATCH_ADVICE}")
        torch.stack(means).sum().backward()
        for branches, other in zip(single, split, strict=True):
            for leaf, twin in zip(self.leaves(branches["student"]), self.leaves(other["student"]), strict=True):
                expected = leaf.grad if leaf.grad is not None else torch.zeros_like(leaf)
                actual = twin.grad if twin.grad is not None else torch.zeros_like(twin)
                close = torch.allclose(actual, expected, rtol=TOLERANCE, atol=TOLERANCE)
                require(close, f"the gradients of two processes differ from those of one: {GLOBAL_BATCH_ADVICE}")

    def test_declared_invariances_hold(self) -> None:
        transformations: dict[Invariance, Callable[[dict[str, RandomBranch]], None]] = {
            "images": reverse_images,
            "global views": partial(reverse_first_views, count=self.make_context().global_view_count),
            "classes": reverse_classes,
            "rotation": rotate_embeddings,
            "scale": scale_embeddings,
        }
        unknown = ", ".join(map(repr, sorted(self.invariances - set(transformations))))
        require(not unknown, f"invariances may contain {', '.join(map(repr, transformations))}, not {unknown}")
        for name in sorted(self.invariances):
            original, changed = self.random_branches(), self.random_branches()
            with torch.no_grad():
                transformations[name](changed)
            outputs = self.view_outputs(changed)
            if name == "images":  # a loss may know its images by their indices
                outputs = replace(outputs, index=outputs.index.flip(0))
            before, after = self.build()(self.view_outputs(original)).total, self.build()(outputs).total
            close = torch.allclose(before, after, rtol=TOLERANCE, atol=TOLERANCE)
            require(close, f"the loss must not depend on {name}: {before.item():.6f} becomes {after.item():.6f}")
