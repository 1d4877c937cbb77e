"""Exports to other libraries can be loaded with the code in the model card, or are refused."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import sslkit
from sslkit.api import Run
from sslkit.components.catalog import registered_components
from sslkit.runs.weights_header import read_metadata

WithBackbone = Callable[..., Run]


def load_by_card(card: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """Run the first Python block of the model card in the folder of the file, and return the model."""
    (code,) = re.findall(r"```python\n(.*?)\n```", card.read_text(), re.DOTALL)
    monkeypatch.chdir(card.parent)
    names: dict[str, Any] = {}
    exec(code, names)
    return names["model"]


@pytest.mark.parametrize(
    ("to", "use", "size", "channels", "options", "resolved"),
    [
        ("torchvision", "sslkit-backbones:resnet18", 64, 3, {"stem": "imagenet"}, 'stem="imagenet"'),
        ("torchvision", "sslkit-backbones:alexnet", 64, 3, {"stem": "imagenet"}, 'stem="imagenet", batch_norm=False'),
        ("timm", "sslkit-backbones:resnet18", 64, 1, {"stem": "imagenet"}, 'stem="imagenet"'),
        ("timm", "sslkit-backbones:timm", 32, 3, {"model": "test_vit", "arguments": {"patch_size": 8}}, ""),
        ("safetensors", "sslkit-backbones:resnet18", 32, 3, {"stem": "small"}, 'stem="small"'),
    ],
)
@pytest.mark.filterwarnings("ignore:stem = ")
def test_the_code_of_the_card_loads_a_model_with_the_same_features(
    to: str,
    use: str,
    size: int,
    channels: int,
    options: dict[str, Any],
    resolved: str,
    with_backbone: WithBackbone,
    monkeypatch: Any,
) -> None:
    run = with_backbone(use, size, channels, **options)
    exported = run.export(to, run.path / "out.safetensors")
    model = load_by_card(exported.card, monkeypatch)
    assert not model.training
    assert type(model).__module__.startswith({"safetensors": "sslkit_backbones"}.get(to, to))
    images = torch.randn(2, channels, size, size)
    with torch.no_grad():
        expected = run.load_backbone().backbone(images)
        torch.testing.assert_close(model(images), expected, rtol=0, atol=1e-5)
    metadata = read_metadata(exported.file)["export"]
    assert metadata["input"] == {
        "channels": channels,
        "size": size,
        "mean": [0.4, 0.5, 0.6][:channels],
        "std": [0.2, 0.3, 0.25][:channels],
        "interpolation": "bilinear",
    }
    assert metadata["resolved"] == resolved
    assert "classes" not in metadata


def test_timm_reads_the_file_as_a_checkpoint(with_backbone: WithBackbone) -> None:
    import timm

    run = with_backbone("sslkit-backbones:timm", 32, model="test_resnet")
    run.export("timm", run.path / "out.safetensors")
    model = timm.create_model("test_resnet", num_classes=0, checkpoint_path=str(run.path / "out.safetensors")).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(images), run.load_backbone().backbone(images), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("use", "to", "options", "reason", "possible"),
    [
        (
            "sslkit-backbones:resnet18",
            "torchvision",
            {"stem": "small"},
            'it has the small stem; only stem = "imagenet" fits the published network',
            "safetensors, onnx",
        ),
        (
            "sslkit-backbones:resnet18",
            "torchvision",
            {"stem": "imagenet", "channels": 1},
            "its first convolution takes 1 channels, the published network's 3",
            "safetensors, onnx, timm",
        ),
        ("sslkit-backbones:alexnet", "timm", {"stem": "small"}, "timm has no AlexNet", "safetensors, onnx"),
        (
            "sslkit-backbones:alexnet",
            "torchvision",
            {"stem": "imagenet", "size": 48},
            "torchvision's AlexNet needs images of at least 63 pixels, not 48",
            "safetensors, onnx",
        ),
        (
            "sslkit-backbones:alexnet",
            "torchvision",
            {"stem": "imagenet", "size": 64, "batch_norm": True},
            "torchvision's AlexNet has no batch normalisation",
            "safetensors, onnx",
        ),
        (
            "sslkit-backbones:convnet",
            "keras",
            {},
            "the backbone 'sslkit-backbones:convnet' names no model of keras that takes its weights",
            "safetensors, onnx",
        ),
    ],
    ids=["stem", "channels", "not in the library", "size", "batch normalisation", "no counterpart"],
)
@pytest.mark.filterwarnings("ignore:stem = ")
def test_an_impossible_export_is_refused_with_the_possible_formats(
    use: str, to: str, options: dict[str, Any], reason: str, possible: str, with_backbone: WithBackbone
) -> None:
    run = with_backbone(use, **options)
    with pytest.raises(sslkit.InputError) as error:
        run.export(to, run.path / "out.safetensors")
    message = str(error.value)
    assert message.startswith(f"this run cannot be exported to {to}: {reason}")
    assert message.endswith(f": {possible}")
    assert not list(run.path.glob("out.*"))


class ThirdPartyBackbone(sslkit.Backbone):
    """Third-party backbone with counterparts in its own library, of which only one is equivalent."""

    api = 2
    feature_dim = 4

    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.layer = nn.Conv2d(context.channels, 4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images).mean((2, 3))

    def feature_maps(self, images: torch.Tensor) -> dict[int, torch.Tensor]:
        return {1: self.layer(images)}

    def counterparts(self) -> dict[str, sslkit.Counterpart | str]:
        state = {"body.weight": self.layer.weight, "body.bias": self.layer.bias}
        flipped = state | {"body.weight": self.layer.weight.flip(0)}
        states = {"equivalent": state, "flipped": flipped, "no_bias": {"body.weight": self.layer.weight}}
        constructor = f"{__name__}.build_model"
        return {
            **{name: sslkit.Counterpart(constructor, own, {"width": 4}) for name, own in states.items()},
            "absent": sslkit.Counterpart("nosuchlibrary.models.net", state),
        }


def build_model(width: int) -> nn.Module:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, width, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.body(images).mean((2, 3))

    return Model()


def test_a_third_party_counterpart_must_be_equivalent(
    with_backbone: WithBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or type(sys)(__name__))
    monkeypatch.setattr(sys.modules[__name__], "build_model", build_model, raising=False)
    sslkit.register("third-party", ThirdPartyBackbone)
    try:
        run = with_backbone("this-process:third-party", 16)
        run.export("equivalent", run.path / "out.safetensors")
        for to, reason in (
            ("flipped", "not equivalent: its features differ by "),
            ("no_bias", r"not equivalent: RuntimeError: .*Missing key\(s\) in state_dict: \"body\.bias\""),
        ):
            where = f"backbone 'third-party' of this-process.*counterpart in {to}"
            with pytest.raises(sslkit.ComponentError, match=f"{where}.*{reason}"):
                run.export(to, run.path / f"{to}.safetensors")
        with pytest.raises(sslkit.InputError, match="nosuchlibrary is not installed; install it"):
            run.export("absent", run.path / "absent.safetensors")
    finally:
        registered_components.clear()
    assert {path.name for path in run.path.glob("*.safetensors")} == {
        "out.safetensors",
        "backbone.safetensors",
        "heads.safetensors",
        "typical-images.safetensors",
    }


def test_existing_files_and_wrong_paths_are_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.safetensors.md").write_text("mine")
    with pytest.raises(sslkit.InputError, match=r"notes\.safetensors\.md exists already: delete it, or choose"):
        run.export("safetensors", tmp_path / "notes.safetensors")
    with pytest.raises(sslkit.InputError, match=r"--out must end in \.onnx for --to onnx: .*x\.pth"):
        run.export("onnx", tmp_path / "x.pth")
    with pytest.raises(sslkit.InputError, match=r"the folder .*nowhere does not exist: create it, or choose another"):
        run.export("safetensors", tmp_path / "nowhere" / "x.safetensors")
    assert {path.name for path in tmp_path.iterdir()} == {"notes.safetensors.md", "run"}
