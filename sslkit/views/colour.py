"""Brightness, contrast, saturation and hue as one affine map of every image's colours.

Each of the four is affine in the colour, so together they are one 3x3 matrix and one offset.  The factors are
torchvision's ``ColorJitter``; on purpose different from it are

- the hue, a rotation of RGB about the gray axis instead of a shift in HSV: it is linear and keeps the mean of red,
  green and blue.  For a third of a turn the two are the same; up to 0.1 turns they differ by at most 0.3 of a pixel's
  ``max - min`` of red, green and blue;
- the order, always brightness, contrast, saturation, hue;
- the clamping to 0..1, once at the end instead of after each of them.

Grayscale is a saturation of 0: the luma before any turn of the hue.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

LUMA: Final = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luma (ITU-R BT.601, as Pillow)."""

_MEAN = torch.full((3, 3), 1 / 3)
_ACROSS = torch.tensor([(0, -1, 1), (1, 0, -1), (-1, 1, 0)]) / math.sqrt(3)
_BASIS = torch.stack([torch.tensor([LUMA] * 3), _MEAN, torch.eye(3) - _MEAN, _ACROSS]).flatten(1).tolist()


def chroma_matrices(saturation: Tensor, hue: Tensor) -> Tensor:
    """``[..., 3, 3]`` for saturation factors and then hues in turns, both ``[...]``; grays stay as they are.

    The turn is Rodrigues' rotation about (1, 1, 1).
    """
    angle = 2 * math.pi * hue
    weights = torch.stack([1 - saturation, saturation, saturation * angle.cos(), saturation * angle.sin()], -1)
    basis = torch.tensor(_BASIS, dtype=torch.float32).to(hue.device, non_blocking=True)
    return (weights @ basis).view(*hue.shape, 3, 3)


def adjust_colour(
    images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor | None = None, hue: Tensor | None = None
) -> Tensor:
    """Change the colours of float images ``[..., C, H, W]`` in 0..1; the result is not clamped.

    Args:
        images: with three channels where ``saturation`` and ``hue`` are given, else with any number.
        brightness: ``[...]`` factor of all values.
        contrast: ``[...]`` factor of the distance from the image's mean luma (mean of all channels unless C = 3).
        saturation: ``[...]`` factor of the distance from the pixel's luma; 0 makes the image gray.
        hue: ``[...]`` in turns, -0.5 to 0.5, from red towards green.
    """
    means = images.mean((-2, -1))
    if images.shape[-3] == len(LUMA):
        mean = sum((means[..., i] * weight for i, weight in enumerate(LUMA)), torch.zeros_like(brightness))
    else:
        mean = means.mean(-1)
    gain = brightness * contrast
    offset = (1 - contrast) * brightness * mean
    if saturation is None or hue is None:
        return torch.addcmul(offset[..., None, None, None], images, gain[..., None, None, None])
    matrices = chroma_matrices(saturation, hue) * gain[..., None, None]
    mixed = matrices @ images.flatten(-2)
    return mixed.add_(offset[..., None, None]).view(images.shape)


def solarise(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert the values of float images ``[..., C, H, W]`` in 0..1 that are at or above ``threshold`` ``[...]``."""
    above = images >= threshold[..., None, None, None]
    # |x - 1| is 1 - x here; selecting with torch.where is several times slower on a CPU.
    return images.sub(above.to(images.dtype)).abs_()
