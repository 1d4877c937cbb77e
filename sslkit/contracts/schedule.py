"""Values that change from step to step, such as learning rates and temperatures."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor


def cosine_decay(step: float, total: float = 1.0) -> float:
    """Return the cosine decay from 1 at step 0 to 0 at step ``total``: ``(1 + cos(pi * step / total)) / 2``."""
    return (1 + math.cos(math.pi * step / total)) / 2


def as_tensors(
    values: Mapping[str, float | Tensor], device: torch.device, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Return the values as tensors on ``device``; numbers and floating-point tensors are converted to ``dtype``."""
    return {name: _as_tensor(value, dtype).to(device, non_blocking=True) for name, value in values.items()}


def _as_tensor(value: float | Tensor, dtype: torch.dtype) -> Tensor:
    if not isinstance(value, Tensor):
        return torch.tensor(value, dtype=dtype)
    return value.to(dtype) if value.is_floating_point() else value
