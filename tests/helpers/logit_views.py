"""Inputs of losses that read logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

import sslkit

Logits = Sequence[Sequence[Tensor]]
"""For each classifier, the logits ``[B, K]`` of each view."""


def draw_logits(*sizes: int, views: int = 2, batch: int = 6, seed: int = 0, scale: float = 1.0) -> list[list[Tensor]]:
    """Return logits in ``[-scale, scale]`` in float64, for classifiers of the given sizes."""
    generator = torch.Generator().manual_seed(seed)
    return [
        [scale * (torch.rand(batch, size, generator=generator, dtype=torch.float64) * 2 - 1) for _ in range(views)]
        for size in sizes
    ]


def logit_views(logits: Logits, global_views: int = 2, teacher: Logits | None = None) -> sslkit.ViewOutputs:
    """Return the input of a loss with logits only."""

    def branch(own: Logits) -> sslkit.BranchOutputs:
        features = tuple(torch.zeros(len(view), 3) for view in own[0])
        return sslkit.BranchOutputs(features, logits=tuple(tuple(per_view) for per_view in own))

    branches = {"student": branch(logits)} | ({} if teacher is None else {"teacher": branch(teacher)})
    return sslkit.ViewOutputs(branches, global_views, torch.arange(len(logits[0][0])))


def logit_context(*sizes: int, **facts: Any) -> sslkit.Context:
    """Return the context of a loss whose head has classifiers of the given sizes."""
    defaults = {"view_count": 2, "global_view_count": 2, "embedding_dim": 5, "training_images": 12}
    return sslkit.Context(1, 8, (0.5,), (0.5,), 6, 2, 1, classifiers=sizes, **defaults | facts)


@contextmanager
def float64_buffers() -> Iterator[None]:
    """Create buffers in float64: values such as 1/3 are rounded if they are created in float32 and converted later."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def gradients(total: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradient of each leaf; 0 for leaves that the total does not depend on."""
    found = torch.autograd.grad(total, leaves, allow_unused=True)
    return [torch.zeros_like(leaf) if one is None else one for one, leaf in zip(found, leaves, strict=True)]
