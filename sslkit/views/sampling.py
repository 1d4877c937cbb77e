"""Random numbers from one generator, and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def uniform(shape: Sequence[int], generator: torch.Generator, low: float = 0.0, high: float = 1.0) -> Tensor:
    """float32 ``shape``, uniform between ``low`` and ``high``, on the generator's device."""
    unit = torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float32)
    return unit.mul_(high - low).add_(low)


def happens(n: int, probabilities: Sequence[float], generator: torch.Generator) -> Tensor:
    """bool ``[n, V]``: whether something of the V given probabilities happens to each view."""
    chance = torch.tensor(probabilities, dtype=torch.float32).to(generator.device, non_blocking=True)
    return uniform((n, len(probabilities)), generator) < chance
