"""Exports as their readers meet them: loaded by the card's own code, in the library they are meant for."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import tomli_w
import torch
from evaluation_results import evaluation_result
from torch import nn

import sslkit
from sslkit.api import Run
from sslkit.runs.class_names import write_class_names
from sslkit.runs.evaluation_files import save_evaluation
from sslkit.runs.weights import read_metadata, save_weights
from sslkit.trained.network import TrainedNetwork

Make = Callable[..., Run]


@pytest.fixture(scope="module")
def trained(finished_run: Path) -> Run:
    return Run(finished_run)


@pytest.fixture
def with_backbone(trained: Run, tmp_path: Path) -> Make:
    """A run of another backbone, with random weights and statistics, without a head."""

    def make(use: str, size: int = 64, channels: int = 3, **options: Any) -> Run:
        run = Run(shutil.copytree(trained.path, tmp_path / "run"))
        recipe = tomllib.loads(run.recipe.read_text())
        del recipe["head"]
        table = recipe["backbone"] = {"use": use, **options}
        run.recipe.write_text(tomli_w.dumps(recipe))
        own = {"mean": [0.4, 0.5, 0.6][:channels], "std": [0.2, 0.3, 0.25][:channels], "channels": channels}
        metadata = read_metadata(run.backbone) | own | {"image_size": size, "backbone": table}
        metadata["context"] |= own | {"image_size": size, "view_size": size}
        save_weights(nn.Identity(), run.backbone, metadata)
        backbone = TrainedNetwork(run, "cpu", untrained=True).backbone
        for name, value in backbone.named_buffers():
            if name.endswith("running_mean"):
                nn.init.normal_(value)
        save_weights(backbone, run.backbone, metadata | {"feature_dim": backbone.feature_dim})
        return run

    return make


def loaded_by_the_card(card: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """The model that the card's first block of Python makes, run beside the file."""
    (code,) = re.findall(r"```python\n(.*?)\n```", card.read_text(), re.DOTALL)
    monkeypatch.chdir(card.parent)
    names: dict[str, Any] = {}
    exec(code, names)
    return names["model"]


@pytest.mark.parametrize(
    ("to", "use", "size", "channels", "options"),
    [
        ("torchvision", "sslkit-backbones:resnet18", 64, 3, {"stem": "imagenet"}),
        ("torchvision", "sslkit-backbones:alexnet", 64, 3, {"stem": "imagenet"}),
        ("timm", "sslkit-backbones:resnet18", 64, 1, {"stem": "imagenet"}),
        ("timm", "sslkit-backbones:timm", 32, 3, {"model": "test_vit", "arguments": {"patch_size": 8}}),
        ("safetensors", "sslkit-backbones:resnet18", 32, 3, {"stem": "small"}),
    ],
)
@pytest.mark.filterwarnings("ignore:stem = ")
def test_the_card_loads_it_strictly_and_features_are_the_same(
    to: str, use: str, size: int, channels: int, options: dict[str, Any], with_backbone: Make, monkeypatch: Any
) -> None:
    run = with_backbone(use, size, channels, **options)
    written = run.export(to, run.path / "out.safetensors")
    model = loaded_by_the_card(written.card, monkeypatch)
    assert not model.training
    assert type(model).__module__.startswith({"safetensors": "sslkit_backbones"}.get(to, to))
    images = torch.randn(2, channels, size, size)
    with torch.no_grad():
        expected = run.load_backbone().backbone(images)
        torch.testing.assert_close(model(images), expected, rtol=0, atol=1e-5)
    facts = read_metadata(written.file)["export"]
    assert facts["input"] == {
        "channels": channels,
        "size": size,
        "mean": [0.4, 0.5, 0.6][:channels],
        "std": [0.2, 0.3, 0.25][:channels],
    }
    assert facts["settled"] == (f'stem="{options["stem"]}"' if "stem" in options else "")
    assert "classes" not in facts


def test_timm_itself_reads_the_file(with_backbone: Make) -> None:
    import timm

    run = with_backbone("sslkit-backbones:timm", 32, model="test_resnet")
    run.export("timm", run.path / "out.safetensors")
    model = timm.create_model("test_resnet", num_classes=0, checkpoint_path=str(run.path / "out.safetensors")).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(images), run.load_backbone().backbone(images), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("use", "to", "options", "reason"),
    [
        (
            "sslkit-backbones:resnet18",
            "torchvision",
            {"stem": "small"},
            'its stem is the small one; only stem = "imagenet" is the published network\'s.  '
            "It can be to safetensors, onnx",
        ),
        (
            "sslkit-backbones:resnet18",
            "torchvision",
            {"stem": "imagenet", "channels": 1},
            "its first convolution takes 1 channels, the published network's 3.  It can be to safetensors, onnx, timm",
        ),
        ("sslkit-backbones:alexnet", "timm", {"stem": "small"}, "timm has no AlexNet.  It can be to safetensors, onnx"),
        (
            "sslkit-backbones:alexnet",
            "torchvision",
            {"stem": "imagenet", "size": 48},
            "torchvision's takes images from 63 pixels on, these have 48.  It can be to safetensors, onnx",
        ),
        (
            "sslkit-backbones:convnet",
            "keras",
            {},
            "the backbone 'sslkit-backbones:convnet' names no network there that takes its weights.  "
            "It can be to safetensors, onnx",
        ),
    ],
    ids=["stem", "channels", "not there", "size", "no counterpart"],
)
@pytest.mark.filterwarnings("ignore:stem = ")
def test_what_cannot_be_exported_is_refused_with_what_can(
    use: str, to: str, options: dict[str, Any], reason: str, with_backbone: Make
) -> None:
    run = with_backbone(use, **options)
    with pytest.raises(sslkit.InputError) as refused:
        run.export(to, run.path / "out.safetensors")
    assert str(refused.value) == f"this run cannot be exported to {to}: {reason}"
    assert not list(run.path.glob("out.*"))


class Stranger(sslkit.Backbone):
    """A stranger's, whose counterpart lives in a library of their own."""

    api = 1
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
        here = {"their": sslkit.Counterpart(f"{__name__}.theirs", state, {"width": 4})}
        twisted = {"body.weight": self.layer.weight.flip(0), "body.bias": self.layer.bias}
        here["wrong"] = sslkit.Counterpart(f"{__name__}.theirs", twisted, {"width": 4})
        here["keys"] = sslkit.Counterpart(f"{__name__}.theirs", {"body.weight": self.layer.weight}, {"width": 4})
        here["absent"] = sslkit.Counterpart("nosuchlibrary.models.net", state)
        return here


def theirs(width: int) -> nn.Module:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, width, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.body(images).mean((2, 3))

    return Net()


def test_a_strangers_backbone_is_exported_and_a_wrong_counterpart_is_not(
    with_backbone: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sslkit.components.catalog import registered_components

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or type(sys)(__name__))
    monkeypatch.setattr(sys.modules[__name__], "theirs", theirs, raising=False)
    sslkit.register("stranger", Stranger)
    try:
        run = with_backbone("this-process:stranger", 16)
        run.export("their", run.path / "out.safetensors")
        where = "backbone 'stranger' of this-process"
        for to, reason in (
            ("wrong", "is none: it gives features that differ by "),
            ("keys", r"is none: RuntimeError: .*Missing key\(s\) in state_dict: \"body\.bias\""),
        ):
            with pytest.raises(sslkit.ComponentError, match=rf"{where}.*its counterpart in {to}, .*{reason}"):
                run.export(to, run.path / f"{to}.safetensors")
        with pytest.raises(sslkit.InputError, match="nosuchlibrary is not installed, and what is meant for it"):
            run.export("absent", run.path / "absent.safetensors")
    finally:
        registered_components.clear()
    assert {path.name for path in run.path.glob("*.safetensors")} == {
        "out.safetensors",
        "backbone.safetensors",
        "heads.safetensors",
    }


NAMES = ("cat", "<b>&`*x*`", "two\nlines", "\x1b[31mred", "\u202egnp.exe", "", "", "", "", "dog")


def test_onnx_gives_features_and_logits_for_any_number_of_images(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx
    import onnxruntime

    run = Run(shutil.copytree(trained.path, tmp_path / "run"))
    write_class_names(run, NAMES)
    floor = {"random_weights": {"metrics": {"top1": 0.25}, "protocol": {"data": "digits", "k": 30}}}
    knn = {"metrics": {"top1": 0.5, "list": [1]}, "protocol": {"data": "digits", "k": 20}, "baselines": floor}
    save_evaluation(run, evaluation_result(knn=knn))
    for top1, root in ((0.75, "/home/me"), (0.875, "/home/you")):
        protocol = {"data": "digits", "data_options": {"root": root}}
        save_evaluation(run, evaluation_result(knn={"metrics": {"top1": top1}, "protocol": protocol}))
    out = tmp_path / "digits.onnx"
    run.export("onnx", out)
    session = onnxruntime.InferenceSession(out.read_bytes())
    network = TrainedNetwork(run, "cpu")
    for count in (1, 2, 7):
        images = torch.randn(count, 1, 8, 8)
        features, logits = session.run(None, {"images": images.numpy()})
        with torch.no_grad():
            expected = network.backbone(images)
            assert network.head is not None
            classes = network.head(expected).logits[0]
        torch.testing.assert_close(torch.from_numpy(features), expected, rtol=0, atol=1e-4)
        torch.testing.assert_close(torch.from_numpy(logits), classes, rtol=0, atol=1e-4)
    onnx.checker.check_model(str(out))
    properties = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
    facts = json.loads(properties["sslkit"])["export"]
    assert facts["classes"] == {
        "count": 10,
        "names": list(NAMES),
        "head": "selfcls-mlp",
        "classifier": 0,
        "temperature": 0.1,
    }

    card = (tmp_path / "digits.onnx.md").read_text()
    assert card.replace("\n", "").isprintable()
    assert "- 1: `<b>&'*x*'`\n" in card
    assert "- 2: `'two\\nlines'`\n" in card
    assert "- 9: `dog`\n" in card
    assert "1438 images of 1 x 8 x 8 (channels, height, width), 10 steps, seed 7." in card
    assert "- backbone: `sslkit-backbones:convnet 0.1.0`" in card
    assert (
        "### knn on digits\n\n|  | trained | random weights |\n| --- | --- | --- |\n| knn top1 | 0.500 | 0.250 |\n"
        in card
    )
    assert '"k": 20' in card
    assert '"random weights": {\n  "k": 30\n }' in card
    for again, top1 in (("", "0.750"), (" (2)", "0.875")):
        heading = f"### knn on digits, other data than the run's own{again}\n\n"
        assert f"{heading}|  | trained |\n| --- | --- |\n| knn top1 | {top1} |\n" in card
    assert "/home" not in card

    # An exporter that gives another network is found out.
    wrong = onnx.load(out)
    (bias,) = (weights for weights in wrong.graph.initializer if weights.name == "head.mlp.0.bias")
    bias.raw_data = (numpy.frombuffer(bias.raw_data, numpy.float32) + 1).tobytes()
    program = SimpleNamespace(model=SimpleNamespace(metadata_props={}), model_proto=wrong)
    monkeypatch.setattr(torch.onnx, "export", lambda *arguments, **options: program)
    with pytest.raises(sslkit.InputError, match=r"its logits differ by .* in onnxruntime, more than 0\.0001"):
        run.export("onnx", tmp_path / "wrong.onnx")


def test_a_network_that_onnx_cannot_hold_is_refused(trained: Run, tmp_path: Path, monkeypatch: Any) -> None:
    def fails(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("no operator\nfor this")

    monkeypatch.setattr(torch.onnx, "export", fails)
    with pytest.raises(
        sslkit.InputError, match=r"^this network cannot be written as ONNX: RuntimeError: no operator for"
    ):
        trained.export("onnx", tmp_path / "out.onnx")
    assert not list(tmp_path.iterdir())


def test_what_is_in_the_way_stays(trained: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.safetensors.md").write_text("mine")
    with pytest.raises(sslkit.InputError, match=r"notes\.safetensors\.md exists already: delete it, or choose"):
        trained.export("safetensors", tmp_path / "notes.safetensors")
    with pytest.raises(sslkit.InputError, match=r"--out must end in \.onnx for --to onnx: .*x\.pth"):
        trained.export("onnx", tmp_path / "x.pth")
    with pytest.raises(sslkit.InputError, match=r"the folder .*nowhere does not exist: create it, or choose another"):
        trained.export("safetensors", tmp_path / "nowhere" / "x.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.safetensors.md"]
