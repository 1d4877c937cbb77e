"""Place the training images in the device's memory if they fit, else in RAM or on disk."""

from __future__ import annotations

import os

import torch

from sslkit.contracts.dataset import ImageStore
from sslkit.data.cgroup import cgroup_memory
from sslkit.data.loader import PREFETCH_BATCHES
from sslkit.data.store import MappedStore, TensorStore

MEMORY_FRACTION = 0.5
"""Fraction of the device's memory that training images may use."""


def place_images(images: ImageStore, device: str, processes: int = 1) -> tuple[ImageStore, str]:
    """Move images to the fastest memory with enough space. Return the images and a sentence about their location.

    Args:
        images: images of the data set.
        device: ``cpu``, ``cuda`` or ``mps``.
        processes: number of processes on this machine, which share the RAM; each CUDA process has its own GPU.
    """
    channels, height, width = images.shape
    size = len(images) * channels * height * width
    summary = f"{len(images)} images of {channels}x{height}x{width} ({size / 1e6:.0f} MB)"
    available = MEMORY_FRACTION * _memory(device) / (1 if device == "cuda" else processes)
    if isinstance(images, (TensorStore, MappedStore)) and size <= available:
        memory = "memory" if device == "cpu" else f"{device} memory"
        return images.to(device), f"data: {summary}, resident in {memory}{' of each process' * (processes > 1)}"
    if should_prefetch(images, device):
        source = "memory" if isinstance(images, TensorStore) else "the cache on disk"
        return (
            images,
            f"data: {summary}, too large for {device} memory: streamed from {source}, {PREFETCH_BATCHES} batches ahead",
        )
    if isinstance(images, TensorStore):
        return images, f"data: {summary}, resident in memory, more than half of it"
    return images, f"data: {summary}, fetched by the data set itself on demand"


def is_resident(images: ImageStore, device: str) -> bool:
    """Return whether the images are in the memory of ``device``, where a training step can read them by index."""
    return isinstance(images, TensorStore) and images.images.device.type == device


def should_prefetch(images: ImageStore, device: str) -> bool:
    """Return whether a background thread should fetch batches of ``images``.

    Third-party stores are not prefetched, because they may not be thread-safe.
    """
    return isinstance(images, MappedStore | TensorStore) and not is_resident(images, device)


def fits_memory(nbytes: int, device: str) -> bool:
    """Return whether ``nbytes`` bytes fit into ``MEMORY_FRACTION`` of the memory of ``device``."""
    return nbytes <= MEMORY_FRACTION * _memory(device)


def _memory(device: str) -> int:
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return min(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), cgroup_memory())
