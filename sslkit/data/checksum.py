"""By what images are known again: a checksum of all of them, at a cost that a start can bear."""

from __future__ import annotations

import hashlib

import torch

from sslkit.contracts.dataset import ImageStore
from sslkit.data.splits import evenly_spaced_indices

WHOLE = 8 << 30
"""Bytes of images up to which every pixel is read: some ten seconds."""

SAMPLE = 256
"""Images, spread over all, that stand for those of a larger store that has no name for its content."""

BLOCK = 1 << 26
"""Bytes of images that are read at a time."""


def checksum(images: ImageStore) -> str:
    """The first 16 digits of a SHA-256 that other images, or the same in another order, do not have.

    It is the same wherever the images are kept.  Of a store of more than ``WHOLE`` bytes it is that of the store's
    ``content``, which a cache knows without reading it again, and without one that of a sample.
    """
    channels, height, width = images.shape
    size = max(1, channels * height * width)
    if len(images) * size > WHOLE:
        content: str = getattr(images, "content", "")
        return hashlib.sha256(content.encode()).hexdigest()[:16] if content else sampled(images)
    found = hashlib.sha256()
    for block in torch.arange(len(images)).split(max(1, BLOCK // size)):
        found.update(images.gather(block).cpu().contiguous().numpy().data)
    return found.hexdigest()[:16]


def sampled(images: ImageStore) -> str:
    """The same of at most ``SAMPLE`` of the images."""
    indices = evenly_spaced_indices(len(images), min(len(images), SAMPLE))
    return hashlib.sha256(images.gather(indices).cpu().contiguous().numpy().data).hexdigest()[:16]
