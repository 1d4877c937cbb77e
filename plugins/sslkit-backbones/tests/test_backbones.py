"""ResNet-18, AlexNet and ConvNet: shapes, feature maps, torchvision's parameter names, stems."""

from __future__ import annotations

import warnings

import pytest
import torch
import torchvision
from torch import Tensor

import sslkit
from sslkit_backbones.alexnet import AlexNet
from sslkit_backbones.convnet import ConvNet
from sslkit_backbones.resnet import ResNet18


def context(size: int = 32, channels: int = 3) -> sslkit.Context:
    return sslkit.Context(channels, size, (0.5,) * channels, (0.5,) * channels, 4, 1, 1, view_size=size)


def build(kind: type[sslkit.Backbone], size: int = 32, channels: int = 3, **options: object) -> sslkit.Backbone:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind(kind.Options.model_validate(options), context(size, channels)).eval()


CASES = [
    (ResNet18, {"stem": "small"}, 512, {1: 64, 2: 128, 4: 256, 8: 512}),
    (ResNet18, {"stem": "imagenet"}, 512, {2: 64, 4: 64, 8: 128, 16: 256, 32: 512}),
    (AlexNet, {"stem": "small"}, 1024, {2: 64, 4: 192, 8: 256, 16: 256}),
    (AlexNet, {"stem": "imagenet"}, 9216, {4: 64, 8: 192, 16: 256, 32: 256}),
    (AlexNet, {"stem": "small", "batch_norm": True}, 1024, {2: 64, 4: 192, 8: 256, 16: 256}),
    (ConvNet, {"width": 3}, 12, {1: 3, 2: 6, 4: 12}),
]


@pytest.mark.parametrize(("kind", "options", "dim", "channels"), CASES)
@pytest.mark.parametrize("size", [(8, 8), (16, 16), (33, 47), (64, 70)])
def test_shapes(
    kind: type[sslkit.Backbone], options: dict[str, object], dim: int, channels: dict[int, int], size: tuple[int, int]
) -> None:
    backbone = build(kind, **options)
    images = torch.randn(2, 3, *size)
    before = images.clone()
    with torch.no_grad():
        features, maps = backbone(images), backbone.feature_maps(images)
    assert backbone.feature_dim == dim
    assert features.shape == (2, dim)
    assert {stride: tuple(map_.shape) for stride, map_ in maps.items()} == {
        stride: (2, count, -(-size[0] // stride), -(-size[1] // stride)) for stride, count in channels.items()
    }
    assert list(maps) == sorted(maps)
    assert torch.equal(images, before)


@pytest.mark.parametrize(("kind", "options", "dim", "channels"), CASES)
@pytest.mark.parametrize("count", [1, 5])
def test_any_number_of_channels_works_and_all_parameters_get_gradients(
    kind: type[sslkit.Backbone], options: dict[str, object], dim: int, channels: dict[int, int], count: int
) -> None:
    backbone = build(kind, channels=count, **options).train()
    backbone(torch.randn(2, count, 32, 32)).square().sum().backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in backbone.parameters())


@pytest.mark.parametrize(
    ("kind", "reference", "last"),
    [(ResNet18, torchvision.models.resnet18, "fc"), (AlexNet, torchvision.models.alexnet, "classifier")],
)
def test_equals_torchvision(kind: type[sslkit.Backbone], reference: type[torch.nn.Module], last: str) -> None:
    backbone, model = build(kind, size=224), reference(weights=None).eval()
    setattr(model, last, torch.nn.Identity())
    model.load_state_dict(backbone.state_dict(), strict=True)
    backbone.load_state_dict(model.state_dict(), strict=True)
    for size in (64, 96, 224):
        images = torch.randn(1, 3, size, size)
        with torch.no_grad():
            torch.testing.assert_close(backbone(images), model(images), rtol=0, atol=0)


def test_batch_norm_follows_each_convolution() -> None:
    backbone = build(AlexNet, size=32, batch_norm=True)
    kinds = [type(layer) for layer in backbone.features]
    convolutions = [i for i, kind in enumerate(kinds) if kind is torch.nn.Conv2d]
    assert len(convolutions) == 5
    assert all(kinds[i + 1 : i + 3] == [torch.nn.BatchNorm2d, torch.nn.ReLU] for i in convolutions)
    assert [[value.ndim for value in block] for block in backbone.blocks()] == [[4, 1, 1]] * 5


@pytest.mark.parametrize("kind", [ResNet18, AlexNet])
def test_the_small_stem_has_the_same_parameter_names(kind: type[sslkit.Backbone]) -> None:
    assert list(build(kind, size=32).state_dict()) == list(build(kind, size=224).state_dict())


@pytest.mark.parametrize(("kind", "options", "dim", "channels"), CASES)
def test_the_feature_is_the_pooled_last_map(
    kind: type[sslkit.Backbone], options: dict[str, object], dim: int, channels: dict[int, int]
) -> None:
    backbone = build(kind, **options)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        last: Tensor = list(backbone.feature_maps(images).values())[-1]
        features = backbone(images)
    if isinstance(backbone, AlexNet):
        side = 1 if options["stem"] == "imagenet" else 4
        assert torch.equal(backbone.avgpool(last[:, :, :side, :side]).flatten(1), features)
    elif isinstance(backbone, ConvNet):
        assert torch.equal(last.amax((2, 3)), features)
    else:
        torch.testing.assert_close(last.mean((2, 3)), features)


@pytest.mark.parametrize("kind", [ResNet18, AlexNet])
@pytest.mark.parametrize(("size", "stem"), [(32, "small"), (99, "small"), (100, "imagenet"), (224, "imagenet")])
def test_auto_follows_the_view_size(kind: type[sslkit.Backbone], size: int, stem: str) -> None:
    auto, explicit = build(kind, size), build(kind, size, stem=stem)
    assert str(auto) == str(explicit)
    assert str(auto) != str(build(kind, size, stem="small" if stem == "imagenet" else "imagenet"))


@pytest.mark.parametrize("kind", [ResNet18, AlexNet])
def test_the_imagenet_stem_warns_about_small_views(kind: type[sslkit.Backbone]) -> None:
    options = kind.Options.model_validate({"stem": "imagenet"})
    with pytest.warns(UserWarning, match=r"view of 64 px: its last map is 2 x 2.*stem = \"small\""):
        kind(options, context(64))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kind(options, context(65)).feature_dim
        assert kind(kind.Options(), context(32)).feature_dim


@pytest.mark.parametrize(
    ("kind", "options"), [(ResNet18, {"stem": "tiny"}), (ConvNet, {"width": 0}), (AlexNet, {"depth": 5})]
)
def test_invalid_options_raise(kind: type[sslkit.Backbone], options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        kind.Options.model_validate(options)


@pytest.mark.parametrize("kind", [ResNet18, AlexNet])
@pytest.mark.parametrize(("stored", "view", "stem"), [(256, 64, "small"), (64, 128, "imagenet")])
def test_auto_follows_the_size_of_views_not_of_images(
    kind: type[sslkit.Backbone], stored: int, view: int, stem: str
) -> None:
    view_context = sslkit.Context(3, stored, (0.5,) * 3, (0.5,) * 3, 4, 1, 1, view_size=view)
    assert kind(kind.Options(), view_context).stem == stem
