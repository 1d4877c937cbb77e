"""Affine maps, compared with torchvision's ``affine``."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from sslkit.views.warp import Padding, affine_matrices, warp

NEUTRAL = {"angle": 0.0, "translate": (0.0, 0.0), "scale": 1.0, "shear": (0.0, 0.0), "flip": 0.0}


def matrices(height: int, width: int, **parameters: object) -> Tensor:
    values = [torch.tensor([value]) for value in (NEUTRAL | parameters).values()]
    return affine_matrices(*values, height, width)


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "parameters",
    [
        {"angle": 23.0},
        {"translate": (0.25, -0.125)},
        {"scale": 0.8},
        {"scale": 1.25},
        {"shear": (12.0, 0.0)},
        {"shear": (0.0, -9.0)},
        {"angle": -100.0, "translate": (0.125, 0.0625), "scale": 1.1, "shear": (15.0, -7.0)},
    ],
)
def test_affine_agrees_with_torchvision(parameters: dict[str, object]) -> None:
    image = noise(1, 2, 32, 32)
    values = NEUTRAL | parameters
    expected = tv.affine(
        image,
        angle=values["angle"],
        translate=[int(part * 32) for part in values["translate"]],
        scale=values["scale"],
        shear=list(values["shear"]),
        interpolation=InterpolationMode.BILINEAR,
    )
    result = warp(image, matrices(32, 32, **parameters), 32, padding="zeros")
    # float32 coordinates differ by up to 1e-6 of a side, and pixel values by up to 1 per pixel.
    assert torch.allclose(result, expected, atol=5e-5)


@pytest.mark.parametrize("padding", ["border", "zeros", "reflection"])
def test_the_neutral_map_changes_nothing(padding: Padding) -> None:
    image = noise(1, 1, 28, 28)
    assert torch.allclose(warp(image, matrices(28, 28), 28, padding), image, atol=1e-5)


def test_flip_mirrors_before_the_map() -> None:
    image = noise(1, 1, 24, 24)
    flipped = warp(image, matrices(24, 24, angle=20.0, flip=1.0), 24)
    assert torch.allclose(flipped, warp(image.flip(-1), matrices(24, 24, angle=20.0), 24), atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(32, 48), (48, 32)])
def test_view_is_the_central_square(height: int, width: int) -> None:
    image = noise(1, 1, height, width)
    expected = tv.center_crop(image, [32, 32])
    assert torch.allclose(warp(image, matrices(height, width), 32), expected, atol=1e-4)


def test_padding_outside_the_image() -> None:
    image = noise(1, 1, 16, 16) * 0.5 + 0.5
    shifted = matrices(16, 16, translate=(0.5, 0.0))
    assert (warp(image, shifted, 16, "zeros")[..., :7] == 0).all()
    assert torch.allclose(warp(image, shifted, 16, "border")[..., :7], image[..., :1].expand(-1, -1, -1, 7), atol=1e-5)
    assert torch.allclose(warp(image, shifted, 16, "reflection")[..., :8], image[..., :8].flip(-1), atol=1e-5)
