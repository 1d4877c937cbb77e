"""Decides where the training images live: on the device where they fit, else where the data set left them."""

from __future__ import annotations

import os

import torch

from sslkit.contracts.dataset import ImageStore
from sslkit.data.cgroup import cgroup_memory
from sslkit.data.loader import AHEAD
from sslkit.data.store import MappedStore, TensorStore

SHARE = 0.5
"""Part of the device's memory that images may take."""


def place(images: ImageStore, device: str, processes: int = 1) -> tuple[ImageStore, str]:
    """The images where they are fetched fastest, and a sentence that says where.

    Args:
        images: as the data set gives them.
        device: ``cpu``, ``cuda`` or ``mps``.
        processes: how many of this machine keep images of their own; those with a GPU each share none of its memory.
    """
    channels, height, width = images.shape
    size = len(images) * channels * height * width
    what = f"{len(images)} images of {channels}x{height}x{width} ({size / 1e6:.0f} MB)"
    room = SHARE * _memory(device) / (1 if device == "cuda" else processes)
    if isinstance(images, (TensorStore, MappedStore)) and size <= room:
        where = "memory" if device == "cpu" else f"{device} memory"
        return images.resident(device), f"data: {what}, resident in {where}{' of each process' * (processes > 1)}"
    if streams(images, device):
        where = "memory" if isinstance(images, TensorStore) else "the cache on disk"
        return images, f"data: {what}, too large for {device} memory: streamed from {where}, {AHEAD} batches ahead"
    if isinstance(images, TensorStore):
        return images, f"data: {what}, resident in memory, more than half of it"
    return images, f"data: {what}, fetched by the data set itself as they are needed"


def streams(images: ImageStore, device: str) -> bool:
    """Whether batches of these images should be fetched while the device works on others.

    Not of a stranger's store, which need not bear being read by two threads at once.
    """
    return isinstance(images, MappedStore) or (isinstance(images, TensorStore) and images.images.device.type != device)


def _memory(device: str) -> int:
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return min(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), cgroup_memory())
