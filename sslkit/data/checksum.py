"""Checksum that identifies the images of a store."""

from __future__ import annotations

import hashlib

import torch

from sslkit.contracts.dataset import ImageStore
from sslkit.data.splits import evenly_spaced_indices

FULL_CHECK_BYTES = 8 << 30
"""Maximum size, in bytes, of a store whose pixels are all read. Reading takes about ten seconds."""

SAMPLE = 256
"""Number of evenly spaced images to read if the store is larger than ``FULL_CHECK_BYTES`` and has no ``content_id``."""

BLOCK_BYTES = 1 << 26
"""Number of bytes to read at a time."""


def checksum(images: ImageStore) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of the images and their order.

    The checksum does not depend on where the images are stored. For a store of more than ``FULL_CHECK_BYTES`` bytes,
    the checksum covers the store's ``content_id``, or a sample of the images if there is no ``content_id``.
    """
    channels, height, width = images.shape
    image_bytes = max(1, channels * height * width)
    if len(images) * image_bytes > FULL_CHECK_BYTES:
        content_id: str = getattr(images, "content_id", "")
        return hashlib.sha256(content_id.encode()).hexdigest()[:16] if content_id else sample_checksum(images)
    digest = hashlib.sha256()
    for block in torch.arange(len(images)).split(max(1, BLOCK_BYTES // image_bytes)):
        digest.update(images.gather(block).cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]


def sample_checksum(images: ImageStore) -> str:
    """Return the checksum of at most ``SAMPLE`` evenly spaced images."""
    indices = evenly_spaced_indices(len(images), min(len(images), SAMPLE))
    return hashlib.sha256(images.gather(indices).cpu().contiguous().numpy().data).hexdigest()[:16]
