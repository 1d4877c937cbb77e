"""Preprocessing, compared with torchvision's functions."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from sslkit.contracts.preprocessing import Preprocessing
from sslkit.views.preprocess import preprocess

MEAN, STD = (0.4, 0.5, 0.6), (0.1, 0.2, 0.3)


@pytest.mark.parametrize(
    ("height", "width", "size"), [(32, 32, 32), (32, 45, 32), (47, 32, 32), (80, 61, 32), (20, 27, 32)]
)
def test_preprocess_agrees_with_torchvision(height: int, width: int, size: int) -> None:
    images = torch.randint(0, 256, (3, 3, height, width), dtype=torch.uint8)
    original = images.clone()
    result = preprocess(images, Preprocessing(size, MEAN, STD))
    pixels = tv.center_crop(tv.resize(images / 255, [size], antialias=True), [size, size])
    assert result.shape == (3, 3, size, size)
    assert result.dtype == torch.float32
    assert result.is_contiguous()
    assert torch.allclose(result, tv.normalize(pixels, MEAN, STD), atol=5e-5)
    assert torch.equal(images, original)
    floats = images / 255
    original = floats.clone()
    assert torch.equal(preprocess(floats, Preprocessing(size, MEAN, STD)), result)
    assert torch.equal(floats, original)


@pytest.mark.parametrize("channels", [1, 4])
def test_any_number_of_channels(channels: int) -> None:
    images = torch.full((2, channels, 16, 16), 255, dtype=torch.uint8)
    result = preprocess(images, Preprocessing(16, (0.5,) * channels, (0.25,) * channels))
    assert torch.allclose(result, torch.full((2, channels, 16, 16), 2.0))


def test_bicubic_interpolation_agrees_with_torchvision_and_stays_in_range() -> None:
    images = torch.randint(0, 256, (3, 3, 80, 61), dtype=torch.uint8)
    result = preprocess(images, Preprocessing(32, MEAN, STD, "bicubic"))
    pixels = tv.resize(images / 255, [32], tv.InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
    assert torch.allclose(result, tv.normalize(tv.center_crop(pixels, [32, 32]), MEAN, STD), atol=5e-5)


def test_grey_images_are_repeated_for_each_channel_of_the_normalisation() -> None:
    images = torch.randint(0, 256, (3, 1, 20, 20), dtype=torch.uint8)
    preprocessing = Preprocessing(16, MEAN, STD)
    assert torch.equal(preprocess(images, preprocessing), preprocess(images.expand(-1, 3, -1, -1), preprocessing))
