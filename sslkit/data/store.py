"""Image stores: uint8 images ``[N, C, H, W]`` in memory, in a memory-mapped file, or combined from other stores.

A store returns batches of images. Labels are in the ``Split`` that contains the store.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslkit.contracts.dataset import ImageStore

COPY_BYTES = 1 << 28
"""Number of bytes of a mapped file that ``MappedStore.to`` copies at a time."""


class TensorStore:
    """Store of images in one tensor, on any device.

    Args:
        images: uint8 ``[N, C, H, W]``.
        content_id: text that identifies these images, or ``""`` if unknown.

    Attributes:
        shape: ``(C, H, W)`` of every image.
    """

    def __init__(self, images: Tensor, content_id: str = "") -> None:
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise ValueError(f"images must be uint8 [N, C, H, W], not {images.dtype} {list(images.shape)}")
        self.images = images.contiguous()
        self.shape = (images.shape[1], images.shape[2], images.shape[3])
        self.content_id = content_id

    @property
    def nbytes(self) -> int:
        """Size of all images in bytes."""
        return self.images.nbytes

    def __len__(self) -> int:
        return len(self.images)

    def gather(self, index: Tensor) -> Tensor:
        """Return uint8 images ``[B, C, H, W]`` for int64 indices ``[B]``, on the device of the store."""
        return self.images.index_select(0, index.to(self.images.device, non_blocking=True))

    def to(self, device: torch.device | str) -> TensorStore:
        """Return a store of the same images on ``device``."""
        return TensorStore(self.images.to(device), self.content_id)


class MappedStore:
    """Store of consecutive images in a ``.npy`` file, read from disk on demand.

    A pickled store contains only the path, so processes share the system's file cache.

    Args:
        path: file that contains a uint8 array ``[M, C, H, W]``.
        start: index of the store's first image in the file.
        count: number of images; None means all images to the end of the file.
        file_id: text that identifies the content of the file, or ``""`` if unknown.

    Raises:
        OSError, ValueError: the file is missing or truncated, or does not contain such an array.
    """

    def __init__(self, path: Path, start: int = 0, count: int | None = None, file_id: str = "") -> None:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        if mapped.dtype != np.uint8 or mapped.ndim != 4:
            raise ValueError(f"{path} must hold uint8 [N, C, H, W], not {mapped.dtype} {list(mapped.shape)}")
        count = len(mapped) - start if count is None else count
        if not 0 <= start <= start + count <= len(mapped):
            raise ValueError(f"{path} holds {len(mapped)} images, not images {start} to {start + count}")
        self._arguments = (path, start, count, file_id)
        self.content_id = file_id and f"{file_id} {start} {count}"
        # A plain array over the same pages, because indexing a memmap object costs far more than the copy itself.
        self._images = np.asarray(mapped)[start : start + count]
        _, channels, height, width = mapped.shape
        self.shape = (channels, height, width)

    def __reduce__(self) -> tuple[Any, ...]:
        return MappedStore, self._arguments

    def __len__(self) -> int:
        return len(self._images)

    def gather(self, index: Tensor) -> Tensor:
        """Return a copy of the uint8 images ``[B, C, H, W]`` for int64 indices ``[B]``, on the CPU."""
        return torch.from_numpy(self._images[index.cpu().numpy()])

    def to(self, device: torch.device | str) -> TensorStore:
        """Return a store of all images in the memory of ``device``, copied in blocks of ``COPY_BYTES``."""
        images = torch.empty(self._images.shape, dtype=torch.uint8, device=device)
        step = max(1, COPY_BYTES // max(1, self._images.nbytes // max(1, len(self))))
        for start in range(0, len(self), step):
            images[start : start + step] = torch.from_numpy(self._images[start : start + step].copy())
        return TensorStore(images, self.content_id)


class SubsetStore:
    """Subset of another store's images, in a given order.

    Args:
        images: the store.
        indices: int64 ``[M]``.
    """

    def __init__(self, images: ImageStore, indices: Tensor) -> None:
        self.images = images
        self.indices = indices
        self.shape = images.shape

    def __len__(self) -> int:
        return len(self.indices)

    def gather(self, index: Tensor) -> Tensor:
        """Return uint8 images ``[B, C, H, W]`` for int64 indices ``[B]`` into this subset."""
        return self.images.gather(self.indices[index])


class ConcatStore:
    """Concatenation of two stores of equal shape: the images of ``first``, then the images of ``second``."""

    def __init__(self, first: ImageStore, second: ImageStore) -> None:
        self.first = first
        self.second = second
        self.shape = first.shape

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def gather(self, index: Tensor) -> Tensor:
        """Return uint8 images ``[B, C, H, W]`` for int64 indices ``[B]``, on the CPU."""
        in_first = index < len(self.first)
        images = torch.empty(len(index), *self.shape, dtype=torch.uint8)
        images[in_first] = self.first.gather(index[in_first]).cpu()
        images[~in_first] = self.second.gather(index[~in_first] - len(self.first)).cpu()
        return images
