"""Copy tensors to a device."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on ``device``. The host does not wait for a copy from the CPU to a GPU.

    For a GPU, a CPU tensor is first copied to page-locked memory. From other memory, the host would wait until the GPU
    has finished all earlier work.
    """
    if device.type == "cuda" and tensor.device.type == "cpu" and torch.cuda.is_available():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
