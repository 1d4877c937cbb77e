"""Draw random numbers from a given generator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def uniform(shape: Sequence[int], generator: torch.Generator, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Return float32 values of shape ``shape``, uniform in ``[low, high)``, on the generator's device."""
    unit = torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float32)
    return unit.mul_(high - low).add_(low)


def bernoulli(n: int, probabilities: Sequence[float], generator: torch.Generator) -> Tensor:
    """Return a random bool tensor ``[n, V]``; column v is True with probability ``probabilities[v]``."""
    thresholds = torch.tensor(probabilities, dtype=torch.float32).to(generator.device, non_blocking=True)
    return uniform((n, len(probabilities)), generator) < thresholds
