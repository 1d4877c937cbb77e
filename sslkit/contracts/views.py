"""Contract of a view policy, the augmentation that turns each image into several views."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from sslkit.contracts.component import Component
from sslkit.contracts.context import Context
from sslkit.contracts.options import Options

Parameters = tuple[dict[str, Tensor], ...]
"""Augmentation parameters: for each view group, a dict of tensors ``[n, count, ...]`` (n images, count views)."""


@dataclass(frozen=True)
class ViewGroup:
    """Views of equal size.

    Attributes:
        count: int, views V of each image.
        size: int, side S in pixels.
        is_global: bool, whether these are global (large) views; local (small) views otherwise.
    """

    count: int
    size: int
    is_global: bool


def slice_parameters(parameters: Parameters, start: int, stop: int) -> Parameters:
    """Return the parameters of images ``start`` to ``stop`` of a batch, such as one process's part."""
    return tuple({name: value[start:stop] for name, value in group.items()} for group in parameters)


def move_parameters(parameters: Parameters, device: torch.device) -> Parameters:
    """Copy the parameters to ``device`` asynchronously."""
    return tuple({name: value.to(device, non_blocking=True) for name, value in group.items()} for group in parameters)


class Views(Component, ABC):
    """Base class of view policies: augmentations that turn each image into several views.

    ``draw`` draws random parameters; ``apply`` computes the views from images and parameters. ``draw`` must not use
    global random state, and ``apply`` must not draw at all. Equal parameters then give equal views on any device. Every
    process draws the parameters of the global batch and applies its own part.

    Subclasses set ``groups`` in ``__init__``.

    Attributes:
        groups: tuple of ``ViewGroup``, the views that ``apply`` returns; global groups first.
        mean: tuple of C floats in [0, 1], per-channel mean for normalisation. Default: that of the training images.
        std: tuple of C floats in [0, 1], per-channel standard deviation for normalisation. Default: that of the
            training images.
    """

    groups: tuple[ViewGroup, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __init__(self, options: Options, context: Context) -> None:
        self.mean = context.mean
        self.std = context.std

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw the parameters of ``n`` images, on the generator's device."""

    @abstractmethod
    def apply(self, images: Tensor, parameters: Parameters) -> tuple[Tensor, ...]:
        """Return the normalised views of a batch.

        Args:
            images: uint8 tensor ``[B, C, H, W]``.
            parameters: the parameters of these images, as ``draw`` returns them.

        Returns:
            One float32 tensor ``[V, B, C, S, S]`` for each group.
        """

    @property
    def count(self) -> int:
        """Number of views of each image, over all groups."""
        return sum(group.count for group in self.groups)

    @property
    def global_views(self) -> int:
        """Number of global views of each image; they come first."""
        return sum(group.count for group in self.groups if group.is_global)

    @property
    def size(self) -> int:
        """Side of a global view in pixels; also the image size in evaluation."""
        return self.groups[0].size
