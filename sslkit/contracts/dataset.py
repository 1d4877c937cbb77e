"""Contract of a data set, whose images are divided into splits, with or without labels or masks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from sslkit.contracts.component import Component
from sslkit.contracts.options import Options
from sslkit.errors import IncompatibleComponentError

IGNORE_INDEX = 255
"""Mask value of pixels without a class."""


@runtime_checkable
class ImageStore(Protocol):
    """Images of one size, read in batches.

    ``resume`` detects changed data with a checksum. The checksum covers all pixels or, for a store of more than 8 GiB,
    the pixels of sampled images. If such a large store has an attribute ``content_id``, a string that identifies its
    images, ``resume`` compares that string instead.
    """

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of every image."""

    def __len__(self) -> int: ...

    def gather(self, index: Tensor) -> Tensor:
        """Return the images at int64 indices ``[B]`` as uint8 ``[B, C, H, W]``."""


@dataclass(frozen=True)
class Split:
    """Images of one split, such as ``train``.

    Attributes:
        images: the images.
        labels: int64 tensor ``[N]``, the class of each image, or None if there are no labels.
        files: file name of each image, or an empty tuple if the images are not files.
        masks: uint8 tensor ``[N, H, W]``, the class or ``IGNORE_INDEX`` of each pixel, or None if there are no masks.

    Raises:
        IncompatibleComponentError: the images are not an ``ImageStore``, labels or masks are not a tensor, or their
            number or shape does not match the images.
    """

    images: ImageStore
    labels: Tensor | None = None
    files: tuple[str, ...] = ()
    masks: Tensor | None = None

    def __post_init__(self) -> None:
        images: object = self.images
        if isinstance(images, Tensor) or not isinstance(images, ImageStore):
            raise IncompatibleComponentError(
                "the images of a split must be a store, such as sslkit.TensorStore(images), "
                f"not of type {type(images).__name__}"
            )
        for name, tensor in (("labels", self.labels), ("masks", self.masks)):
            if tensor is not None and not isinstance(tensor, Tensor):
                raise IncompatibleComponentError(
                    f"the {name} of a split must be a torch.Tensor, not of type {type(tensor).__name__}"
                )
        if self.labels is not None and len(self.labels) != len(self.images):
            raise IncompatibleComponentError(
                f"the data set returns {len(self.labels)} labels for {len(self.images)} images"
            )
        if self.masks is not None and self.masks.shape != (len(self.images), *self.images.shape[1:]):
            raise IncompatibleComponentError(
                f"the data set returns masks of shape {list(self.masks.shape)} for {len(self.images)} images of "
                f"{list(self.images.shape[1:])} pixels"
            )


class Dataset(Component, ABC):
    """Base class of data sets, whose images are divided into splits.

    The split ``train`` is required; ``validation`` and ``test`` are optional. If the data set has a split ``pretrain``,
    training uses the images of ``pretrain`` instead of those of ``train``. The constructor only checks options.
    ``load`` downloads the images if needed, verifies them and reads them.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names, in order of label, or an empty tuple if there are no labels."""
        return ()

    @property
    def mask_names(self) -> tuple[str, ...]:
        """Names of the pixel classes, in order of mask value, or an empty tuple if there are no masks."""
        return ()

    @abstractmethod
    def load(self, split: str) -> Split:
        """Return one split.

        Raises:
            DataError: the split does not exist, or its images are missing, damaged or unreadable.
        """

    def report(self) -> Mapping[str, Any]:
        """Return a report of how the images were read, such as skipped files and conversions, for the run folder."""
        return {}

    def notes(self) -> tuple[str, ...]:
        """Return sentences about how the images were read, to print when training starts."""
        return ()
