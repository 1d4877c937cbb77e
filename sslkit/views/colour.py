"""Brightness, contrast, saturation and hue as one affine map of each image's colours.

Each of the four is affine in the colour, so together they are one 3x3 matrix and one offset. Factors mean the same as
in torchvision's ``ColorJitter``. Intended differences are:

- Hue is a rotation of RGB about the gray axis instead of a shift in HSV. It is linear and keeps the mean of red, green
  and blue. Both agree for a third of a turn; up to 0.1 turns they differ by at most 0.3 of a pixel's ``max - min`` of
  red, green and blue.
- The order is always brightness, contrast, saturation, hue.
- Values are clamped to [0, 1] once at the end, not after each effect.

Grayscale is a saturation of 0: the luma before any hue rotation.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

LUMA: Final = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luma (ITU-R BT.601, as in Pillow)."""

_MEAN = torch.full((3, 3), 1 / 3)
_ACROSS = torch.tensor([(0, -1, 1), (1, 0, -1), (-1, 1, 0)]) / math.sqrt(3)
_BASIS = torch.stack([torch.tensor([LUMA] * 3), _MEAN, torch.eye(3) - _MEAN, _ACROSS]).flatten(1).tolist()


def chroma_matrices(saturation: Tensor, hue: Tensor) -> Tensor:
    """Return colour matrices ``[..., 3, 3]`` for saturation factors and hues in turns, both ``[...]``.

    Saturation comes first. Grays do not change. The hue is Rodrigues' rotation about (1, 1, 1).
    """
    angle = 2 * math.pi * hue
    weights = torch.stack([1 - saturation, saturation, saturation * angle.cos(), saturation * angle.sin()], -1)
    basis = torch.tensor(_BASIS, dtype=torch.float32).to(hue.device, non_blocking=True)
    return (weights @ basis).view(*hue.shape, 3, 3)


def adjust_colour(
    images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor | None = None, hue: Tensor | None = None
) -> Tensor:
    """Adjust the colours of float images ``[..., C, H, W]`` in [0, 1]; the result is not clamped.

    Args:
        images: three channels if ``saturation`` and ``hue`` are given, otherwise any number.
        brightness: ``[...]`` factor of all values.
        contrast: ``[...]`` factor of the distance from the image's mean luma (mean of all channels unless C = 3).
        saturation: ``[...]`` factor of the distance from the pixel's luma; 0 makes the image gray.
        hue: ``[...]`` in turns, in [-0.5, 0.5], from red towards green.
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
    """Invert the values of float images ``[..., C, H, W]`` in [0, 1] that are at or above ``threshold`` ``[...]``."""
    above = images >= threshold[..., None, None, None]
    # |x - 1| is 1 - x in [0, 1]; torch.where is several times slower on a CPU.
    return images.sub(above.to(images.dtype)).abs_()
