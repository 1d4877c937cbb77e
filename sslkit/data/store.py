"""Where the images of a split live: in memory, or in a file that is mapped into memory.

Both kinds hold uint8 ``[N, C, H, W]`` and hand out whole batches; neither knows of labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

COPY_BYTES = 1 << 28
"""How much of a mapped file ``MappedStore.resident`` copies at a time."""


class TensorStore:
    """Images in one tensor, on any device.

    Args:
        images: uint8 ``[N, C, H, W]``.
        content: a name that only these images have, where one is known.
    """

    def __init__(self, images: Tensor, content: str = "") -> None:
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise ValueError(f"images must be uint8 [N, C, H, W], not {images.dtype} {list(images.shape)}")
        self.images = images.contiguous()
        self.content = content

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of every image."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    @property
    def nbytes(self) -> int:
        """Memory that all images take."""
        return self.images.nbytes

    def __len__(self) -> int:
        return len(self.images)

    def gather(self, index: Tensor) -> Tensor:
        """uint8 images ``[B, C, H, W]`` at the int64 places ``[B]``, on the device where the images are."""
        return self.images.index_select(0, index.to(self.images.device, non_blocking=True))

    def resident(self, device: torch.device | str = "cpu") -> TensorStore:
        """The same images on ``device``."""
        return TensorStore(self.images.to(device), self.content)


class MappedStore:
    """Consecutive images of a ``.npy`` file, read from disk as they are asked for.

    It is sent to another process as a path, so workers share the system's file cache and copy nothing.

    Args:
        path: file that holds uint8 ``[M, C, H, W]``.
        start: place of this store's first image in the file.
        count: number of images; to the end of the file if None.
        file_content: a name that only files with this content have, where one is known.

    Raises:
        OSError, ValueError: the file is missing, cut short, or holds something else.
    """

    def __init__(self, path: Path, start: int = 0, count: int | None = None, file_content: str = "") -> None:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        if mapped.dtype != np.uint8 or mapped.ndim != 4:
            raise ValueError(f"{path} must hold uint8 [N, C, H, W], not {mapped.dtype} {list(mapped.shape)}")
        count = len(mapped) - start if count is None else count
        if not 0 <= start <= start + count <= len(mapped):
            raise ValueError(f"{path} holds {len(mapped)} images, not images {start} to {start + count}")
        self._place = (path, start, count, file_content)
        self.content = file_content and f"{file_content} {start} {count}"
        # A plain array over the same pages: indexing a memmap object costs far more than the copy itself.
        self._images = np.asarray(mapped)[start : start + count]

    def __reduce__(self) -> tuple[Any, ...]:
        return MappedStore, self._place

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of every image."""
        _, channels, height, width = self._images.shape
        return channels, height, width

    @property
    def nbytes(self) -> int:
        """Memory that all images would take."""
        return self._images.nbytes

    def __len__(self) -> int:
        return len(self._images)

    def gather(self, index: Tensor) -> Tensor:
        """uint8 images ``[B, C, H, W]`` at the int64 places ``[B]``, copied from the file to the CPU."""
        return torch.from_numpy(self._images[index.cpu().numpy()])

    def resident(self, device: torch.device | str = "cpu") -> TensorStore:
        """All images in memory on ``device``; on its way a part at a time, so the host holds no second copy."""
        images = torch.empty(self._images.shape, dtype=torch.uint8, device=device)
        step = max(1, COPY_BYTES // max(1, self.nbytes // max(1, len(self))))
        for start in range(0, len(self), step):
            images[start : start + step] = torch.from_numpy(self._images[start : start + step].copy())
        return TensorStore(images, self.content)
