"""Dataset: images in splits, with or without labels or masks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from sslkit.contracts.component import Component
from sslkit.contracts.options import Options
from sslkit.errors import DataError

IGNORE_INDEX = 255
"""Value in a mask of a pixel that has no class."""


@runtime_checkable
class ImageStore(Protocol):
    """Images of one size, read in batches.

    A store of more than 8 GiB may have an attribute ``content_id``, a text that identifies its images. Resuming
    compares it to detect changed data; for smaller stores, it compares every pixel.
    """

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of every image."""

    def __len__(self) -> int: ...

    def gather(self, index: Tensor) -> Tensor:
        """Return uint8 images ``[B, C, H, W]`` for int64 indices ``[B]``."""


@dataclass(frozen=True)
class Split:
    """Images of one split, such as ``train``.

    Attributes:
        images: the images.
        labels: int64 class ``[N]`` of each image, or None if there are no labels.
        files: file name of each image; empty if there are none.
        masks: uint8 class ``[N, H, W]`` of each pixel, ``IGNORE_INDEX`` where it has none; None if there are no masks.

    Raises:
        DataError: the number of labels or the shape of the masks does not match the images.
    """

    images: ImageStore
    labels: Tensor | None = None
    files: tuple[str, ...] = ()
    masks: Tensor | None = None

    def __post_init__(self) -> None:
        if self.labels is not None and len(self.labels) != len(self.images):
            raise DataError(f"the data set returns {len(self.labels)} labels for {len(self.images)} images")
        if self.masks is not None and self.masks.shape != (len(self.images), *self.images.shape[1:]):
            raise DataError(
                f"the data set returns masks of shape {list(self.masks.shape)} for {len(self.images)} images of "
                f"{list(self.images.shape[1:])} pixels"
            )


class Dataset(Component, ABC):
    """Images in splits.

    ``train`` is required; ``validation`` and ``test`` are optional. If there is a split ``pretrain``, training uses its
    images instead of those of ``train``. The constructor only checks options; ``load`` reads, verifies and, if needed,
    downloads the images.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in label order; empty if there are no labels."""
        return ()

    @property
    def mask_names(self) -> tuple[str, ...]:
        """Names of the classes of pixels, in the order of the masks' values; empty if there are no masks."""
        return ()

    @abstractmethod
    def load(self, split: str) -> Split:
        """Return one split.

        Raises:
            DataError: there is no such split, or its images are missing, damaged or unreadable.
        """

    def report(self) -> Mapping[str, Any]:
        """Return how the images were read (skipped files, conversions), for the run's record."""
        return {}

    def notes(self) -> tuple[str, ...]:
        """Return sentences about how the images were read, which are printed when a training starts."""
        return ()
