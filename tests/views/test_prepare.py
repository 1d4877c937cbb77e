"""The evaluation transform against torchvision's."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from sslkit.views.preprocess import prepare

MEAN, STD = (0.4, 0.5, 0.6), (0.1, 0.2, 0.3)


@pytest.mark.parametrize(
    ("height", "width", "size"), [(32, 32, 32), (32, 45, 32), (47, 32, 32), (80, 61, 32), (20, 27, 32)]
)
def test_prepare_agrees_with_torchvision(height: int, width: int, size: int) -> None:
    images = torch.randint(0, 256, (3, 3, height, width), dtype=torch.uint8)
    kept = images.clone()
    made = prepare(images, size, MEAN, STD)
    pixels = tv.center_crop(tv.resize(images / 255, [size], antialias=True), [size, size])
    assert made.shape == (3, 3, size, size)
    assert made.dtype == torch.float32
    assert made.is_contiguous()
    assert torch.allclose(made, tv.normalize(pixels, MEAN, STD), atol=5e-5)
    assert torch.equal(images, kept)
    fractions = images / 255
    kept = fractions.clone()
    assert torch.equal(prepare(fractions, size, MEAN, STD), made)
    assert torch.equal(fractions, kept)


@pytest.mark.parametrize("channels", [1, 4])
def test_any_number_of_channels(channels: int) -> None:
    images = torch.full((2, channels, 16, 16), 255, dtype=torch.uint8)
    made = prepare(images, 16, (0.5,) * channels, (0.25,) * channels)
    assert torch.allclose(made, torch.full((2, channels, 16, 16), 2.0))
