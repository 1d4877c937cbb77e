"""Random affine maps: rotation, translation, scale and shear in one sampling.

One 2x3 matrix for each view gives one grid of half-pixel-correct coordinates (``align_corners=False``) and the image is
sampled once.  There is no antialiasing: the maps are meant to stay near a scale of 1.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from sslkit.views.geometry import Interpolation

Padding = Literal["border", "zeros", "reflection"]


def affine_matrices(
    angle: Tensor, translate: Tensor, scale: Tensor, shear: Tensor, flip: Tensor, height: int, width: int
) -> Tensor:
    """Maps from a square view's coordinates to the image's, both in -1..1.

    The view is the image's central square, mirrored where asked, then scaled, sheared, rotated and moved: the matrix of
    ``torchvision.transforms.functional.affine``, inverted.

    Args:
        angle: ``[...]`` degrees, clockwise.
        translate: ``[..., 2]`` to the right and down, in parts of the view's side.
        scale: ``[...]`` factor.
        shear: ``[..., 2]`` degrees along x and along y.
        flip: ``[...]``, 1 to mirror left and right, else 0.
        height: of the image, in pixels.
        width: of the image, in pixels.

    Returns:
        ``[..., 2, 3]``, as ``torch.nn.functional.affine_grid`` takes them.
    """
    turn = angle.deg2rad()
    along, across = shear.deg2rad().unbind(-1)
    cosine, sine = (turn - across).cos() / across.cos(), (turn - across).sin() / across.cos()
    tangent = along.tan()
    inverse = torch.stack([turn.cos() - sine * tangent, turn.sin() + cosine * tangent, -sine, cosine], -1)
    inverse = inverse.view(*angle.shape, 2, 2) / scale[..., None, None]
    # Translation counts in parts of a side, coordinates run over two.
    offset = inverse @ (-2 * translate).unsqueeze(-1)
    mirror = torch.stack([1 - 2 * flip, torch.ones_like(flip)], -1).unsqueeze(-1)
    side = min(height, width)
    square = torch.stack([torch.full_like(scale, side / width), torch.full_like(scale, side / height)], -1)
    # Mirroring comes first on the image's way to the view, so last on the way back.
    return torch.cat([inverse, offset], -1) * mirror * square.unsqueeze(-1)


def warp(
    images: Tensor, matrices: Tensor, size: int, padding: Padding = "border", interpolation: Interpolation = "bilinear"
) -> Tensor:
    """Views ``[B, C, size, size]`` of float images ``[B, C, H, W]`` under ``matrices`` ``[B, 2, 3]``.

    Outside the image, ``border`` repeats its edge, ``zeros`` is black and ``reflection`` mirrors it.  ``bicubic`` is
    the grid sampler's (a = -0.75).
    """
    n, channels = images.shape[:2]
    grid = F.affine_grid(matrices, [n, channels, size, size], align_corners=False)
    return F.grid_sample(images, grid, mode=interpolation, padding_mode=padding, align_corners=False)
