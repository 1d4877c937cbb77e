"""Dataset: images, with or without labels, in splits."""

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
"""What a mask has where a pixel has no class."""


@runtime_checkable
class ImageStore(Protocol):
    """Images of one size, fetched by whole batches.

    A store of more than 8 GiB may have a ``content``, a text that only these images have: by it a resumed training
    knows them again.  Of smaller ones every pixel is compared.
    """

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of every image."""

    def __len__(self) -> int: ...

    def gather(self, index: Tensor) -> Tensor:
        """uint8 images ``[B, C, H, W]`` at the int64 places ``[B]``."""


@dataclass(frozen=True)
class Split:
    """Images that are used together.

    Attributes:
        images: the images.
        labels: ``[N]`` int64 class of each image, or None where there are none.
        files: name of each image's file, or empty where they have none.
        masks: uint8 class of each pixel ``[N, H, W]``, 255 where it has none; or None where there are no masks.

    Raises:
        DataError: there are not as many labels or masks as images.
    """

    images: ImageStore
    labels: Tensor | None = None
    files: tuple[str, ...] = ()
    masks: Tensor | None = None

    def __post_init__(self) -> None:
        if self.labels is not None and len(self.labels) != len(self.images):
            raise DataError(f"the data set gives {len(self.labels)} labels for {len(self.images)} images")
        if self.masks is not None and self.masks.shape != (len(self.images), *self.images.shape[1:]):
            raise DataError(
                f"the data set gives masks {list(self.masks.shape)} for {len(self.images)} images of "
                f"{list(self.images.shape[1:])} pixels"
            )


class Dataset(Component, ABC):
    """Images in splits.

    ``train`` is required, ``test`` and ``validation`` are optional.  ``pretrain`` is what is trained on without
    labels where that is not exactly ``train``.  The constructor only checks its options; images are read, verified
    and, where the data set asks for it, downloaded by ``load``.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Names of the splits there are."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in label order; empty where there are no labels."""
        return ()

    @property
    def mask_names(self) -> tuple[str, ...]:
        """Names of the classes of pixels, in the order of the masks' values; empty where there are no masks."""
        return ()

    @abstractmethod
    def load(self, split: str) -> Split:
        """One split.

        Raises:
            DataError: the images are missing, damaged or unreadable.
        """

    def report(self) -> Mapping[str, Any]:
        """What a user should know about how the images were read (files skipped, conversions), for the run's record."""
        return {}

    def notes(self) -> tuple[str, ...]:
        """The same in sentences, shown when a training starts; once the images are loaded."""
        return ()
