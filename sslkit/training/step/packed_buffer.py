"""Tensors of a step in one buffer, which a single asynchronous copy moves to the device."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

ALIGNMENT = 16
"""Alignment of each tensor in the buffer, in bytes."""

HOST_BUFFERS = 4
"""Number of pinned host buffers, and of steps by which the host can be ahead of the GPU."""


class PackedBuffer:
    """Tensors of fixed shapes on the device, whose values come from the host in one copy.

    The device tensors have the same addresses in every step, so that a CUDA graph can read them.

    Args:
        like: mapping from each name to a tensor with its shape and dtype, on any device.
        device: device of the tensors.

    Attributes:
        tensors: mapping from name to the tensor on the device.
    """

    def __init__(self, like: Mapping[str, Tensor], device: torch.device) -> None:
        self.layout = layout(like)
        size = sum(_aligned(tensor.nbytes) for tensor in like.values())
        pinned = device.type == "cuda"
        self.buffer = torch.empty(size, dtype=torch.uint8, device=device)
        self.tensors = _views(self.buffer, like)
        self.host_buffers = [
            torch.empty(size, dtype=torch.uint8, pin_memory=pinned) for _ in range(HOST_BUFFERS if pinned else 1)
        ]
        self.host_tensors = [_views(buffer, like) for buffer in self.host_buffers]
        self.copied = [torch.cuda.Event() for _ in self.host_buffers] if pinned else []
        self.next = 0

    def write(self, values: Mapping[str, Tensor]) -> None:
        """Copy values to ``tensors``: together if they are on the CPU, one by one if they are already on the device.

        Names, shapes and dtypes must be those of ``like``.
        """
        number, self.next = self.next, (self.next + 1) % len(self.host_buffers)
        if self.copied:
            self.copied[number].synchronize()  # returns at once, unless the host is HOST_BUFFERS steps ahead
        host = {name: value for name, value in values.items() if value.device.type == "cpu"}
        torch._foreach_copy_([self.host_tensors[number][name] for name in host], list(host.values()))
        self.buffer.copy_(self.host_buffers[number], non_blocking=True)
        if self.copied:
            self.copied[number].record()
        for name in values.keys() - host.keys():
            self.tensors[name].copy_(values[name])


def layout(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.dtype, torch.Size]]:
    """Return the dtype and shape of each tensor."""
    return {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _views(buffer: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a view of a part of ``buffer`` for each tensor of ``like``, with the same name, shape and dtype."""
    views, start = {}, 0
    for name, tensor in like.items():
        views[name] = buffer[start : start + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        start += _aligned(tensor.nbytes)
    return views
