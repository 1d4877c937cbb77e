"""Colour effects, compared with torchvision's functions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from sslkit.views.colour import adjust_colour, solarise

# torchvision's red weight is 0.2989 instead of 0.299: a difference of at most 1e-4 times |1 - factor|.
LUMA_TOLERANCE = 1.5e-4

NEUTRAL = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
FACTORS = st.floats(0.0, 2.0, width=32)


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def adjust(images: Tensor, **changes: float) -> Tensor:
    factors = {name: torch.full(images.shape[:-3], value) for name, value in (NEUTRAL | changes).items()}
    return adjust_colour(images, **factors).clamp(0, 1)


@settings(max_examples=20, deadline=None)
@given(FACTORS)
def test_each_factor_alone_agrees_with_torchvision(factor: float) -> None:
    images = noise(2, 3, 9, 11)
    assert torch.allclose(adjust(images, brightness=factor), tv.adjust_brightness(images, factor), atol=1e-6)
    assert torch.allclose(adjust(images, contrast=factor), tv.adjust_contrast(images, factor), atol=LUMA_TOLERANCE)
    assert torch.allclose(adjust(images, saturation=factor), tv.adjust_saturation(images, factor), atol=LUMA_TOLERANCE)


def test_all_factors_together_equal_one_after_another() -> None:
    # Noise around mid-gray, so that torchvision's clamping between effects changes nothing.
    images = noise(2, 3, 9, 11) * 0.2 + 0.4
    sequential = tv.adjust_saturation(tv.adjust_contrast(tv.adjust_brightness(images, 1.1), 1.3), 0.6)
    combined = adjust(images, brightness=1.1, contrast=1.3, saturation=0.6)
    assert torch.allclose(combined, sequential, atol=LUMA_TOLERANCE)


def test_zero_saturation_is_grayscale_for_any_hue() -> None:
    images = noise(2, 3, 9, 11)
    expected = tv.rgb_to_grayscale(images, num_output_channels=3)
    assert torch.allclose(adjust(images, saturation=0.0, hue=0.3), expected, atol=LUMA_TOLERANCE)


def test_neutral_factors_change_nothing() -> None:
    images = noise(2, 3, 9, 11)
    assert torch.allclose(adjust(images), images, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.floats(-0.5, 0.5, width=32))
def test_hue_keeps_the_mean_and_can_be_undone(hue: float) -> None:
    images = noise(2, 3, 9, 11) * 0.2 + 0.4
    rotated = adjust(images, hue=hue)
    assert torch.allclose(rotated.mean(-3), images.mean(-3), atol=1e-5)
    assert torch.allclose(adjust(rotated, hue=-hue), images, atol=1e-5)


@pytest.mark.parametrize("hue", [-0.1, -0.03, 0.03, 0.1])
def test_hue_is_near_torchvision_for_small_angles(hue: float) -> None:
    images = noise(1, 3, 64, 64) * 0.3 + 0.35
    chroma = images.amax(-3, keepdim=True) - images.amin(-3, keepdim=True)
    expected = tv.adjust_hue(images, hue)
    moved = (expected - images).norm()
    assert ((adjust(images, hue=hue) - expected).abs() <= 0.3 * chroma + 1e-5).all()
    assert (adjust(images, hue=hue) - expected).norm() < 0.65 * moved
    assert (adjust(images, hue=-hue) - expected).norm() > 1.6 * moved


@pytest.mark.parametrize("hue", [-1 / 3, 0.0, 1 / 3])
def test_hue_of_a_third_of_a_turn_equals_torchvision(hue: float) -> None:
    images = noise(1, 3, 16, 16)
    assert torch.allclose(adjust(images, hue=hue), tv.adjust_hue(images, hue), atol=2e-6)


def test_every_image_has_its_own_factors() -> None:
    images = noise(2, 4, 3, 8, 8)
    brightness, contrast = noise(2, 4) + 0.5, noise(2, 4) + 0.6
    saturation, hue = noise(2, 4) + 0.4, noise(2, 4) - 0.5
    batch = adjust_colour(images, brightness, contrast, saturation, hue)
    for v in range(2):
        for b in range(4):
            factors = (x[v, b : b + 1] for x in (brightness, contrast, saturation, hue))
            assert torch.allclose(batch[v, b], adjust_colour(images[v, b : b + 1], *factors)[0], atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_brightness_and_contrast_work_for_other_channel_counts(channels: int) -> None:
    images = noise(2, channels, 8, 8)
    result = adjust_colour(images, torch.full((2,), 0.9), torch.full((2,), 0.7))
    mean = images.mean((-3, -2, -1), keepdim=True)
    assert torch.allclose(result, 0.7 * 0.9 * images + 0.3 * 0.9 * mean, atol=1e-6)
    if channels == 1:
        expected = tv.adjust_contrast(tv.adjust_brightness(images, 0.9), 0.7)
        assert torch.allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize("threshold", [0.25, 0.5, 1.0])
def test_solarise_agrees_with_torchvision(threshold: float) -> None:
    images = noise(2, 3, 16, 16)
    images[0, 0, 0, :3] = torch.tensor([threshold, 0.0, 1.0])
    assert torch.equal(solarise(images, torch.full((2,), threshold)), tv.solarize(images, threshold))


def test_threshold_above_one_never_solarises() -> None:
    images = noise(2, 3, 16, 16)
    result = solarise(images, torch.tensor([2.0, 0.5]))
    assert torch.equal(result[0], images[0])
    assert not torch.equal(result[1], images[1])
