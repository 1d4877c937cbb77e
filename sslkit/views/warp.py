"""Affine maps: rotation, translation, scale and shear in one interpolation.

A 2x3 matrix for each view gives a grid of coordinates (``align_corners=False``) at which the image is interpolated.
There is no antialiasing, so scales should stay near 1.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from sslkit.contracts.preprocessing import Interpolation

Padding = Literal["border", "zeros", "reflection"]


def affine_matrices(
    angle: Tensor, translate: Tensor, scale: Tensor, shear: Tensor, flip: Tensor, height: int, width: int
) -> Tensor:
    """Return affine maps from the coordinates of a square view to those of the image; all coordinates are in [-1, 1].

    The view is the central square of the image, flipped if ``flip`` is 1, then scaled, sheared, rotated and shifted.
    The map is the inverse of this transformation, as in ``torchvision.transforms.functional.affine``.

    Args:
        angle: tensor ``[...]``, clockwise rotation in degrees.
        translate: tensor ``[..., 2]``, shift to the right and down, as fractions of the view's side.
        scale: tensor ``[...]``, scale factor.
        shear: tensor ``[..., 2]``, shear along x and along y in degrees.
        flip: tensor ``[...]``, 1 for a horizontal flip, else 0.
        height: height of the image in pixels.
        width: width of the image in pixels.

    Returns:
        Tensor ``[..., 2, 3]`` for ``torch.nn.functional.affine_grid``.
    """
    turn = angle.deg2rad()
    along, across = shear.deg2rad().unbind(-1)
    cosine, sine = (turn - across).cos() / across.cos(), (turn - across).sin() / across.cos()
    tangent = along.tan()
    inverse = torch.stack([turn.cos() - sine * tangent, turn.sin() + cosine * tangent, -sine, cosine], -1)
    inverse = inverse.view(*angle.shape, 2, 2) / scale[..., None, None]
    # The shift is a fraction of the side, whose length is 2 in these coordinates.
    offset = inverse @ (-2 * translate).unsqueeze(-1)
    mirror = torch.stack([1 - 2 * flip, torch.ones_like(flip)], -1).unsqueeze(-1)
    side = min(height, width)
    square = torch.stack([torch.full_like(scale, side / width), torch.full_like(scale, side / height)], -1)
    # The flip is the first step from image to view, so it is the last step of the inverse.
    return torch.cat([inverse, offset], -1) * mirror * square.unsqueeze(-1)


def warp(
    images: Tensor, matrices: Tensor, size: int, padding: Padding = "border", interpolation: Interpolation = "bilinear"
) -> Tensor:
    """Warp float images ``[B, C, H, W]`` with affine maps ``[B, 2, 3]`` to views ``[B, C, size, size]``.

    Outside the image, ``border`` repeats the edge, ``zeros`` is black and ``reflection`` mirrors the image. ``bicubic``
    is PyTorch's ``grid_sample`` with a = -0.75.
    """
    n, channels = images.shape[:2]
    grid = F.affine_grid(matrices, [n, channels, size, size], align_corners=False)
    return F.grid_sample(images, grid, mode=interpolation, padding_mode=padding, align_corners=False)
