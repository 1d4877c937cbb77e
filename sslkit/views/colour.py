"""Brightness, contrast, saturation and hue, combined into one affine map of an image's colours.

Each of these effects is affine in the colour, so one 3x3 matrix and one offset combine all four. Factors have the
same meaning as in torchvision's ``ColorJitter``, with these intended differences:

- Hue is a rotation of RGB about the grey axis instead of a shift in HSV. The rotation is linear and keeps the mean of
  red, green and blue. For a third of a turn, rotation and shift give equal colours. For up to 0.1 turns, the colours
  differ by at most 0.3 times the difference between a pixel's largest and smallest channel.
- The order is always brightness, contrast, saturation, hue.
- Values are clamped to [0, 1] once at the end instead of after each effect.

Grayscale is a saturation of 0.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from sslkit.views.constants import constant

LUMA: Final = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luma (ITU-R BT.601, as in Pillow)."""

_MEAN = torch.full((3, 3), 1 / 3)
_ACROSS = torch.tensor([(0, -1, 1), (1, 0, -1), (-1, 1, 0)]) / math.sqrt(3)
_MATRICES = torch.stack([torch.tensor([LUMA] * 3), _MEAN, torch.eye(3) - _MEAN, _ACROSS]).flatten(1)
_BASIS = tuple(map(tuple, _MATRICES.tolist()))


def chroma_matrices(saturation: Tensor, hue: Tensor) -> Tensor:
    """Return colour matrices ``[..., 3, 3]`` that change first saturation, then hue. Greys do not change.

    Args:
        saturation: tensor ``[...]``, saturation factors.
        hue: tensor ``[...]``, angle of the rotation about (1, 1, 1) in full turns (Rodrigues' formula).
    """
    angle = 2 * math.pi * hue
    weights = torch.stack([1 - saturation, saturation, saturation * angle.cos(), saturation * angle.sin()], -1)
    return (weights @ constant(_BASIS, hue.device)).view(*hue.shape, 3, 3)


def adjust_colour(
    images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor | None = None, hue: Tensor | None = None
) -> Tensor:
    """Adjust the colours of float images ``[..., C, H, W]`` in [0, 1]; the result is not clamped.

    Pass both ``saturation`` and ``hue``, or neither: if one is None, the other is ignored.

    Args:
        images: images with any number of channels; with ``saturation`` and ``hue``, images with three channels.
        brightness: tensor ``[...]``, multiplier of all values.
        contrast: tensor ``[...]``, multiplier of the difference from the mean luma of the image. If there are not
            three channels, the mean of all channels replaces the luma.
        saturation: tensor ``[...]``, multiplier of the difference from the luma of the pixel; 0 makes the image grey.
        hue: tensor ``[...]``, rotation from red towards green in full turns, in [-0.5, 0.5].
    """
    means = images.mean((-2, -1))
    if images.shape[-3] == len(LUMA):
        red, green, blue = (means[..., i] * weight for i, weight in enumerate(LUMA))
        mean = red + green + blue
    else:
        mean = means.mean(-1)
    gain = brightness * contrast
    offset = (1 - contrast) * brightness * mean
    if saturation is None or hue is None:
        return torch.addcmul(offset[..., None, None, None], images, gain[..., None, None, None])
    matrices = chroma_matrices(saturation, hue) * gain[..., None, None]
    # torch.bmm, because the operator @ copies its operands if there are two batch dimensions.
    mixed = torch.bmm(matrices.flatten(0, -3), images.flatten(0, -4).flatten(-2)).view(*offset.shape, 3, -1)
    return mixed.add_(offset[..., None, None]).view(images.shape)


def solarise(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert values of at least ``threshold`` ``[...]`` in float images ``[..., C, H, W]`` with values in [0, 1]."""
    above = images >= threshold[..., None, None, None]
    # |x - 1| equals 1 - x in [0, 1], and is several times faster on a CPU than torch.where.
    return images.sub(above.to(images.dtype)).abs_()
