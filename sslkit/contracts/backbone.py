"""Backbone: images to features."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from sslkit.contracts.component import Component
from sslkit.contracts.context import Context
from sslkit.options import Options


class Backbone(Component, nn.Module):
    """A network whose feature is what evaluation uses and what a user takes away.

    ``context.channels`` and ``context.view_size`` tell what it will be given; views of other sizes (local crops)
    must work as well.
    """

    feature_dim: int
    """D, the length of one feature."""

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Features ``[B, D]`` of normalised images ``[B, C, H, W]``."""

    @abstractmethod
    def feature_maps(self, images: Tensor) -> Mapping[int, Tensor]:
        """The last map ``[B, Cs, H / s, W / s]`` (rounded up) at each stride ``s``, by increasing stride."""
