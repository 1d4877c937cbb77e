"""Constant tensors on the device of the images."""

from __future__ import annotations

import torch
from torch import Tensor

Values = tuple[float, ...] | tuple[tuple[float, ...], ...]

_cache: dict[tuple[Values, torch.device], Tensor] = {}


def constant(values: Values, device: torch.device) -> Tensor:
    """Return a float32 tensor with ``values`` on ``device``. The tensor is shared: do not modify it.

    Each tensor is copied to the device once, without a device sync, because a copy in each step would cost time and
    could not be captured as a CUDA graph.
    """
    tensor = _cache.get((values, device))
    if tensor is None:
        tensor = torch.tensor(values, dtype=torch.float32).to(device, non_blocking=True)
        if type(tensor) is Tensor:  # not a fake tensor, which is valid only within its mode
            _cache[values, device] = tensor
    return tensor
