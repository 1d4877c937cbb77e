"""Views: a batch of images to several augmented crops of each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from sslkit.contracts.component import Component
from sslkit.contracts.context import Context
from sslkit.contracts.options import Options

Parameters = tuple[dict[str, Tensor], ...]
"""For each view group, named tensors ``[n, count, ...]``: every image's parameters for each view of the group."""


@dataclass(frozen=True)
class ViewGroup:
    """Views of one resolution.

    Attributes:
        count: views of each image, V.
        size: side in pixels, S.
        is_global: whether they are global (large) views.
    """

    count: int
    size: int
    is_global: bool


def slice_parameters(parameters: Parameters, start: int, stop: int) -> Parameters:
    """The parameters of images ``start`` to ``stop`` of a batch, such as one process's part."""
    return tuple({name: value[start:stop] for name, value in group.items()} for group in parameters)


def move_parameters(parameters: Parameters, device: torch.device) -> Parameters:
    """The parameters on ``device``; does not wait for the copy."""
    return tuple({name: value.to(device, non_blocking=True) for name, value in group.items()} for group in parameters)


class Views(Component, ABC):
    """An augmentation policy, in two parts: random parameters, and what they do to pixels.

    ``draw`` touches no pixel and no global random state, ``apply`` draws nothing: the same parameters always give
    the same views, on any device, and a process can apply its part of what all processes draw alike.
    """

    groups: tuple[ViewGroup, ...]
    """The views that ``apply`` makes; global groups first."""

    mean: tuple[float, ...]
    """Per-channel mean that views are normalised with, in 0..1."""

    std: tuple[float, ...]
    """Per-channel standard deviation that views are normalised with, in 0..1."""

    def __init__(self, options: Options, context: Context) -> None:
        self.mean = context.mean
        self.std = context.std

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Random parameters for ``n`` images, on the generator's device."""

    @abstractmethod
    def apply(self, images: Tensor, parameters: Parameters) -> tuple[Tensor, ...]:
        """Views of uint8 images ``[B, C, H, W]``: for each group float32 ``[V, B, C, S, S]``, normalised."""

    @property
    def count(self) -> int:
        """Views of one image, over all groups."""
        return sum(group.count for group in self.groups)

    @property
    def global_views(self) -> int:
        """Global views of one image; these come first."""
        return sum(group.count for group in self.groups if group.is_global)

    @property
    def size(self) -> int:
        """Side of a global view in pixels; what the backbone is evaluated at."""
        return self.groups[0].size
