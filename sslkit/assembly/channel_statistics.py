"""Mean and standard deviation of each image channel."""

from __future__ import annotations

import math

import torch

from sslkit.contracts.dataset import ImageStore
from sslkit.data.splits import evenly_spaced_indices

MAX_IMAGES = 10_000
"""Largest number of images to measure, evenly spaced over the data set."""

CHUNK_BYTES = 32 << 20
"""Bytes of uint8 images that are converted to float64 at a time; float64 needs eight times as much memory as uint8."""


def channel_statistics(images: ImageStore) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation of each channel, for pixel values in [0, 1].

    The standard deviation is at least 1/255, so that a constant channel can be normalised.
    """
    count = min(len(images), MAX_IMAGES)
    total = torch.zeros(images.shape[0], dtype=torch.float64)
    squares = torch.zeros(images.shape[0], dtype=torch.float64)
    chunk_size = max(1, min(1000, CHUNK_BYTES // math.prod(images.shape)))
    for indices in evenly_spaced_indices(len(images), count).split(chunk_size):
        chunk = images.gather(indices)
        # MPS has no float64.
        pixels = (chunk.cpu() if chunk.device.type == "mps" else chunk).double() / 255
        total += pixels.mean(dim=(2, 3)).sum(0).cpu()
        squares += pixels.square().mean(dim=(2, 3)).sum(0).cpu()
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=0).sqrt().clamp(min=1 / 255)
    return tuple(mean.tolist()), tuple(std.tolist())
