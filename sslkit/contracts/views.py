"""Contract of a view policy, the augmentation that makes multiple views of each image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sslkit.contracts.component import Component
from sslkit.contracts.context import Context
from sslkit.contracts.options import Options
from sslkit.contracts.preprocessing import Preprocessing

Parameters = tuple[dict[str, Tensor], ...]
"""Augmentation parameters of n images: for each view group, a dict of tensors ``[n, group.count, ...]``."""


@dataclass(frozen=True)
class ViewGroup:
    """Views of equal size.

    Attributes:
        count: int, number of views V of each image.
        size: int, side S of a view in pixels.
        is_global: bool, True for global (large) views, False for local (small) views.
    """

    count: int
    size: int
    is_global: bool


def slice_parameters(parameters: Parameters, start: int, stop: int) -> Parameters:
    """Return the augmentation parameters of the images ``start`` to ``stop`` (exclusive) of a batch."""
    return tuple({name: value[start:stop] for name, value in group.items()} for group in parameters)


def move_parameters(parameters: Parameters, device: torch.device) -> Parameters:
    """Return a copy of augmentation parameters on ``device``; the copy to a GPU is asynchronous."""
    return tuple({name: value.to(device, non_blocking=True) for name, value in group.items()} for group in parameters)


class Views(Component, ABC):
    """Base class of view policies: augmentations that make multiple views of each image.

    ``draw`` draws random parameters; ``apply`` computes the views from images and parameters. ``draw`` must not use
    global random state, and ``apply`` must not use random numbers. Equal parameters then give equal views on any
    device. Every process draws the parameters of the global batch and applies only the parameters of its own images.

    Subclasses set ``groups`` in ``__init__``.

    Attributes:
        augments: bool, whether views are random; otherwise the only view is the image as prepared for evaluation.
            Default: True.
        groups: tuple of ``ViewGroup``, the views that ``apply`` returns; global groups first.
        mean: tuple of C floats in [0, 1], per-channel mean for normalisation. Default: the mean of the training images.
        std: tuple of C floats in [0, 1], per-channel standard deviation for normalisation. Default: that of the
            training images.
    """

    augments: ClassVar[bool] = True
    groups: tuple[ViewGroup, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __init__(self, options: Options, context: Context) -> None:
        self.mean = context.mean
        self.std = context.std
        self.interpolation = context.interpolation

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Return random parameters for ``n`` images, on the generator's device."""

    @abstractmethod
    def apply(self, images: Tensor, parameters: Parameters) -> tuple[Tensor, ...]:
        """Return the normalised views of a batch.

        Args:
            images: uint8 tensor ``[B, C, H, W]``.
            parameters: the parameters of these images, as ``draw`` returns them.

        Returns:
            One float32 tensor ``[V, B, C, S, S]`` for each view group: V views of S x S pixels.
        """

    @property
    def count(self) -> int:
        """Number of views of each image, over all groups."""
        return sum(group.count for group in self.groups)

    @property
    def global_views(self) -> int:
        """Number of global views of each image."""
        return sum(group.count for group in self.groups if group.is_global)

    @property
    def preprocessing(self) -> Preprocessing:
        """Preparation of unaugmented images for evaluation; their size is that of a global view."""
        return Preprocessing(self.size, tuple(self.mean), tuple(self.std), self.interpolation)

    @property
    def size(self) -> int:
        """Side of a global view in pixels; evaluation resizes images to the same size."""
        return self.groups[0].size


class ViewLimits:
    """Limits on the number of views of each image; ``Loss`` and ``Method`` describe the attributes."""

    min_views: ClassVar[int] = 1
    max_views: ClassVar[int | None] = None
    min_global_views: ClassVar[int] = 1
    global_views_only: ClassVar[bool] = False
