"""Preparation of images for a network: size, normalisation and interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Interpolation = Literal["bilinear", "bicubic"]


@dataclass(frozen=True)
class Preprocessing:
    """Preparation of an image for a network: resize the shorter side, crop the central square, normalise.

    Attributes:
        size: int, side of the square in pixels.
        mean: tuple of C floats in [0, 1], subtracted from each channel of an image with values in [0, 1].
        std: tuple of C floats > 0, by which each channel is divided after the subtraction.
        interpolation: ``"bilinear"`` or ``"bicubic"``, both antialiased.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Interpolation = "bilinear"
