"""Conversion of RGB images to the CIELAB colour space, and bins of CIELAB colours."""

from __future__ import annotations

import torch
from torch import Tensor

BIN = 10.0
"""Side of a bin of colours, in units of a and b."""

LIMIT = 110.0
"""Largest absolute value of a and b that bins cover."""

CELLS = int(2 * LIMIT / BIN)
"""Number of bins along each axis, including those without a visible colour."""

TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
"""Matrix from linear RGB (sRGB primaries) to XYZ."""

WHITE = (0.95047, 1.0, 1.08883)
"""XYZ of white, illuminant D65."""


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Return the lightness L in [0, 100] and the colours a and b, ``[N, 3, H, W]``, of sRGB images in [0, 1].

    Source: IEC 61966-2-1 (sRGB) and CIE 15 (CIELAB), illuminant D65.
    """
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)
    red, green, blue = linear.unbind(1)
    # Numbers instead of a matrix, which would have to be copied to the device.
    x, y, z = (
        _cube_root((own[0] * red + own[1] * green + own[2] * blue) / white)
        for own, white in zip(TO_XYZ, WHITE, strict=True)
    )
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def _cube_root(value: Tensor) -> Tensor:
    """Return the cube root of values in [0, 1], replaced by its tangent below (6 / 29)**3, as in CIELAB."""
    delta = 6 / 29
    return torch.where(value > delta**3, value.clamp(min=delta**3) ** (1 / 3), value / (3 * delta**2) + 4 / 29)


def cell_of(lab: Tensor) -> Tensor:
    """Return the bin of each pixel of Lab images ``[N, 3, H, W]``: int64 ``[N, H, W]``, 0 to ``CELLS**2 - 1``."""
    cells = ((lab[:, 1:] + LIMIT) / BIN).long().clamp(0, CELLS - 1)
    return cells[:, 0] * CELLS + cells[:, 1]


def visible_bins() -> Tensor:
    """Return the number of the visible bin that is nearest to each of the ``CELLS**2`` bins; int64 ``[CELLS**2]``.

    A bin is visible if it contains a colour of the RGB cube. Visible bins are numbered from 0, in the order of all
    bins.
    """
    levels = torch.linspace(0, 1, 33)
    cube = torch.stack(torch.meshgrid(levels, levels, levels, indexing="ij")).flatten(2)[None]
    visible = cell_of(rgb_to_lab(cube)).unique()
    cells = torch.arange(CELLS**2)
    centres = torch.stack([cells // CELLS, cells % CELLS], 1).double()
    return torch.cdist(centres, centres[visible]).argmin(1)
