"""Blur, compared with torchvision's ``gaussian_blur``."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from sslkit.views.blur import gaussian_blur


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", [8, 18, 32])
@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.0, 5.0])
def test_agrees_with_torchvision(size: int, sigma: float) -> None:
    images = noise(2, 3, size, size)
    expected = tv.gaussian_blur(images, kernel_size=[2 * size - 1] * 2, sigma=[sigma] * 2)
    assert torch.allclose(gaussian_blur(images, torch.full((2,), sigma)), expected, atol=1e-5)


def test_sigma_zero_changes_nothing() -> None:
    images = noise(3, 3, 16, 16)
    result = gaussian_blur(images, torch.tensor([0.0, 1.0, 0.0]))
    assert torch.equal(result[0], images[0])
    assert torch.equal(result[2], images[2])
    assert result[1].std() < images[1].std()


def test_every_image_has_its_own_sigma() -> None:
    images, sigma = noise(4, 1, 16, 16), torch.tensor([0.3, 1.0, 1.7, 2.0])
    batch = gaussian_blur(images, sigma)
    for i in range(4):
        assert torch.allclose(batch[i : i + 1], gaussian_blur(images[i : i + 1], sigma[i : i + 1]), atol=1e-6)


def test_constant_images_stay_constant() -> None:
    images = torch.full((3, 2, 12, 12), 0.7)
    assert torch.allclose(gaussian_blur(images, torch.tensor([0.2, 1.0, 4.0])), images, atol=1e-6)


def test_weights_have_no_denormals() -> None:
    impulse = torch.zeros(1, 1, 64, 64)
    impulse[..., 32, 32] = 1
    row = gaussian_blur(impulse, torch.ones(1)).sum(-1)
    assert row[row > 0].min() > 1e-9
