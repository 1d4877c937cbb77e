from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import sslkit
from sslkit.device import small_feature_maps
from sslkit.device.small_feature_maps import SmallFeatureMaps, max_output_pixels
from sslkit.recipe.load import load_recipe
from sslkit.training.train import train

Pair = tuple[int, int]
PAIRS = st.tuples(st.integers(1, 4), st.integers(1, 4))


def has_fast_gradient(result: Tensor) -> bool:
    assert result.grad_fn is not None
    return "_Convolution" in result.grad_fn.name()


def output_and_gradients(layer: nn.Conv2d, images: Tensor) -> tuple[Tensor, ...]:
    """Return the output, and the gradients with respect to images and parameters."""
    images = images.detach().requires_grad_()
    result = layer(images)
    inputs = (images, *layer.parameters())
    return (result, *torch.autograd.grad(result.double().square().sum(), inputs))


@settings(max_examples=150, deadline=None)
@given(
    size=PAIRS,
    kernel=PAIRS,
    stride=PAIRS,
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    bias=st.booleans(),
    memory_format=st.sampled_from([torch.contiguous_format, torch.channels_last]),
)
def test_outputs_and_gradients_equal_torch(
    size: Pair, kernel: Pair, stride: Pair, padding: Pair, bias: bool, memory_format: torch.memory_format
) -> None:
    if any(side + 2 * edge < width for side, edge, width in zip(size, padding, kernel, strict=True)):
        return
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 5, kernel, stride, padding, bias=bias).double().to(memory_format=memory_format)  # type: ignore[call-overload]
    images = torch.randn(4, 3, *size, dtype=torch.float64).contiguous(memory_format=memory_format)
    expected = output_and_gradients(layer, images)
    with SmallFeatureMaps():
        actual = output_and_gradients(layer, images)
    assert has_fast_gradient(actual[0]) == (expected[0][0, 0].numel() <= max_output_pixels(3))
    assert torch.equal(actual[0], expected[0])
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (nn.Conv2d(4, 4, 3, padding=1), 5),
        (nn.Conv2d(4, 4, 3, padding=1, groups=2), 3),
        (nn.Conv2d(4, 4, 3, padding=2, dilation=2), 3),
        (nn.Conv2d(4, 4, 3, padding="same"), 3),
        (nn.Conv2d(4, 4, 3, padding=1).requires_grad_(False), 3),
    ],
    ids=["larger map", "groups", "dilation", "padding by name", "frozen"],
)
def test_other_convolutions_use_torch(layer: nn.Conv2d, size: int) -> None:
    images = torch.randn(2, 4, size, size, requires_grad=True)
    with SmallFeatureMaps():
        assert not has_fast_gradient(layer(images))
        assert layer(images[0]).shape == (4, size, size)


@pytest.mark.parametrize(
    ("channels", "size", "fast"), [(255, 3, True), (255, 4, False), (256, 4, True), (256, 5, False)]
)
def test_the_size_limit_depends_on_the_channels(channels: int, size: int, fast: bool) -> None:
    with SmallFeatureMaps():
        assert has_fast_gradient(nn.Conv2d(channels, 2, 3, padding=1)(torch.zeros(1, channels, size, size))) == fast


def test_torch_is_used_without_gradients_and_on_other_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_feature_maps, "_Convolution", None)
    layer, images = nn.Conv2d(4, 4, 3, padding=1), torch.randn(2, 4, 3, 3)
    with SmallFeatureMaps():
        with torch.no_grad():
            layer(images)
        layer.to("meta")(images.to("meta"))
        with pytest.raises(AttributeError):
            layer.to_empty(device="cpu")(images)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_gives_the_data_types_of_torch(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer, images = nn.Conv2d(8, 16, 3, padding=1), torch.randn(32, 8, 2, 2, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16):
        expected = output_and_gradients(layer, images)
        with SmallFeatureMaps():
            actual = output_and_gradients(layer, images)
    assert has_fast_gradient(actual[0])
    assert torch.equal(actual[0], expected[0])
    assert actual[0].dtype == torch.bfloat16
    assert [gradient.dtype for gradient in actual[1:]] == [dtype, torch.float32, torch.float32]
    for one, other in zip(actual[1:], expected[1:], strict=True):
        assert (one - other).norm() <= 0.01 * other.norm()


def test_second_derivatives_and_per_image_gradients_are_right() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, 3, stride=2, padding=1).double()
    names = [name for name, _ in layer.named_parameters()]
    images = torch.randn(4, 2, 3, 3, dtype=torch.float64, requires_grad=True)

    def call(images: Tensor, *values: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(layer, dict(zip(names, values, strict=True)), images)
        return result

    def loss(values: tuple[Tensor, ...], image: Tensor) -> Tensor:
        return call(image[None], *values).square().sum()

    values = tuple(layer.parameters())
    per_image: Callable[..., Any] = torch.func.vmap(torch.func.grad(loss), (None, 0))
    expected = per_image(values, images)
    with SmallFeatureMaps():
        assert has_fast_gradient(call(images, *values))
        assert torch.autograd.gradgradcheck(call, (images, *values))
        actual = per_image(values, images)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


class CheckpointedBackbone(sslkit.Backbone):
    """Backbone with activation checkpointing, whose backward pass computes the forward pass again."""

    api = 2

    def __init__(self, options: sslkit.Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.layer = nn.Conv2d(context.channels, 8, 3, stride=4, padding=1)
        self.feature_dim = 8

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = checkpoint(self.layer, images, use_reentrant=False)
        return maps.relu().mean((2, 3))

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        return {4: self.layer(images)}


@pytest.mark.parametrize("checkpointed", [False, True])
def test_training_uses_the_fast_gradient(
    checkpointed: bool, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def counting(*arguments: Any) -> Tensor:
        nonlocal calls
        calls += 1
        return weight_gradient(*arguments)

    weight_gradient = small_feature_maps._weight_gradient
    monkeypatch.setattr(small_feature_maps, "_weight_gradient", counting)
    settings = ["train.device='cpu'"]
    if checkpointed:
        sslkit.register("checkpointed", CheckpointedBackbone)
        settings.append("backbone={use='checkpointed'}")
    run = train(load_recipe(tiny, settings), tmp_path)
    assert run.status.state == "finished"
    assert calls
