"""Affine maps: rotation, translation, scale and shear in one sampling.

One 2x3 matrix per view gives a grid of coordinates (``align_corners=False``), at which the image is sampled once. There
is no antialiasing, so scales should stay near 1.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from sslkit.views.resize import Interpolation

Padding = Literal["border", "zeros", "reflection"]


def affine_matrices(
    angle: Tensor, translate: Tensor, scale: Tensor, shear: Tensor, flip: Tensor, height: int, width: int
) -> Tensor:
    """Return maps from a square view's coordinates to the image's, both in [-1, 1].

    The view is the image's central square, mirrored if ``flip`` is 1, then scaled, sheared, rotated and shifted: the
    inverse matrix of ``torchvision.transforms.functional.affine``.

    Args:
        angle: ``[...]`` degrees, clockwise.
        translate: ``[..., 2]`` to the right and down, as fractions of the view's side.
        scale: ``[...]`` factor.
        shear: ``[..., 2]`` degrees along x and along y.
        flip: ``[...]``, 1 to mirror left and right, otherwise 0.
        height: height of the image in pixels.
        width: width of the image in pixels.

    Returns:
        ``[..., 2, 3]`` for ``torch.nn.functional.affine_grid``.
    """
    turn = angle.deg2rad()
    along, across = shear.deg2rad().unbind(-1)
    cosine, sine = (turn - across).cos() / across.cos(), (turn - across).sin() / across.cos()
    tangent = along.tan()
    inverse = torch.stack([turn.cos() - sine * tangent, turn.sin() + cosine * tangent, -sine, cosine], -1)
    inverse = inverse.view(*angle.shape, 2, 2) / scale[..., None, None]
    # Translation is a fraction of the side, which is 2 in coordinates.
    offset = inverse @ (-2 * translate).unsqueeze(-1)
    mirror = torch.stack([1 - 2 * flip, torch.ones_like(flip)], -1).unsqueeze(-1)
    side = min(height, width)
    square = torch.stack([torch.full_like(scale, side / width), torch.full_like(scale, side / height)], -1)
    # Mirroring comes first from image to view, so it comes last in the inverse.
    return torch.cat([inverse, offset], -1) * mirror * square.unsqueeze(-1)


def warp(
    images: Tensor, matrices: Tensor, size: int, padding: Padding = "border", interpolation: Interpolation = "bilinear"
) -> Tensor:
    """Warp float images ``[B, C, H, W]`` by ``matrices`` ``[B, 2, 3]`` to views ``[B, C, size, size]``.

    Outside the image, ``border`` repeats its edge, ``zeros`` is black and ``reflection`` mirrors it. ``bicubic`` is
    the grid sampler's (a = -0.75).
    """
    n, channels = images.shape[:2]
    grid = F.affine_grid(matrices, [n, channels, size, size], align_corners=False)
    return F.grid_sample(images, grid, mode=interpolation, padding_mode=padding, align_corners=False)
