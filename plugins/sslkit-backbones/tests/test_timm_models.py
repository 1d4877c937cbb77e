"""timm's models as backbones: features, maps, weights from the cache, invalid options."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from processes.forked_cli import run_script
from pydantic import ValidationError

import sslkit
from sslkit.evaluation.run_subject import RunSubject
from sslkit.recipe.load import load_recipe
from sslkit.training.train import train

timm = pytest.importorskip("timm")

from sslkit_backbones.timm_models import Timm  # noqa: E402 - timm is optional


def build(
    size: int = 64,
    channels: int = 3,
    restoring: bool = False,
    view_sizes: tuple[int, ...] = (),
    **options: object,
) -> Timm:
    half = (0.5,) * channels
    context = sslkit.Context(
        channels, size, half, half, 4, 1, 1, view_size=size, view_sizes=view_sizes, restoring=restoring
    )
    torch.manual_seed(0)
    return Timm(Timm.Options.model_validate(options), context).eval()


@pytest.mark.parametrize(
    ("model", "dim", "channels"),
    [
        ("test_resnet", 96, {2: 32, 4: 32, 8: 48, 16: 192, 32: 96}),
        ("test_vit", 64, {16: 64}),
        ("mobilenetv3_small_050", 1024, {2: 16, 4: 8, 8: 16, 16: 24, 32: 288}),
    ],
)
def test_features_equal_timms_and_maps_have_their_strides(model: str, dim: int, channels: dict[int, int]) -> None:
    backbone = build(model=model, channels=1)
    images = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        features, maps = backbone(images), backbone.feature_maps(images)
        assert torch.equal(features, backbone.network(images))
    assert features.shape == (2, backbone.feature_dim) == (2, dim)
    assert {stride: tuple(map_.shape) for stride, map_ in maps.items()} == {
        stride: (2, count, 64 // stride, 64 // stride) for stride, count in channels.items()
    }
    assert list(maps) == sorted(maps)


def test_a_fixed_input_size_follows_the_views_and_arguments_reach_timm() -> None:
    backbone = build(32, model="test_vit", arguments={"patch_size": 4})
    assert list(backbone.feature_maps(torch.randn(1, 3, 32, 32))) == [4]
    assert backbone.network.patch_embed.grid_size == (8, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "resnet19"}, "timm has no such model: did you mean 'resnet18'"),
        ({"model": "test_vit", "arguments": {"checkpoint_path": "x.pth"}}, "checkpoint_path cannot be set here"),
        ({"model": "test_vit", "arguments": {"pretrained_cfg": "x"}}, "pretrained_cfg cannot be set here"),
    ],
)
def test_invalid_options_raise(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Timm.Options.model_validate(options)


def test_arguments_that_timm_rejects_raise() -> None:
    with pytest.raises(sslkit.OptionError, match=r"timm cannot build test_resnet: .*'colour'"):
        build(model="test_resnet", arguments={"colour": 1})
    with pytest.raises(sslkit.OptionError, match="timm cannot build test_vit"):
        build(30, model="test_vit", arguments={"patch_size": 0})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {},
            r"cannot take views of 32 x 32 pixels: .*32.*; add dynamic_img_size = true, or make all views of one size",
        ),
        ({"dynamic_img_size": False}, "cannot take views of 32 x 32 pixels: .*; make all views of one size"),
    ],
)
def test_a_model_of_one_size_refuses_local_views(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(sslkit.OptionError, match=message) as error:
        build(model="vit_tiny_patch16_224", view_sizes=(64, 32), arguments=arguments)
    assert error.value.option == "arguments"
    backbone = build(model="vit_tiny_patch16_224", view_sizes=(64, 32), arguments={"dynamic_img_size": True})
    assert backbone(torch.zeros(2, 3, 32, 32)).shape == (2, backbone.feature_dim)


RECIPE = """
[train]
epochs = 1
batch_size = 256
[data]
use = "digits"
size = 32
[views]
use = "affine"
[backbone]
use = "timm:test_resnet"
[head]
use = "selfcls-mlp"
classifiers = [10]
[loss]
use = "selfcls"
[optimizer]
use = "adamw"
"""

DOWNLOAD = """
import sys
for name in [name for name in sys.modules if name.partition(".")[0] in ("huggingface_hub", "timm")]:
    del sys.modules[name]  # Hugging Face reads the environment when it is imported
import sslkit
from sslkit_backbones.timm_models import Timm
context = sslkit.Context(3, 64, (.5,) * 3, (.5,) * 3, 4, 1, 1, view_size=64)
backbone = Timm(Timm.Options(model="test_resnet"), context)
try:
    backbone.load_weights_from("timm")
    print(float(backbone.network.conv1[0].weight.mean()))
except sslkit.InputError as error:
    print(error)
"""


OFFLINE = {"HF_HUB_OFFLINE": "1"}
UNREACHABLE = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}


def download(cache: Path, **variables: str) -> str:
    """Load timm's weights in a process that reads these environment variables, and return what it prints."""
    (cache / "download.py").write_text(DOWNLOAD)
    environment = os.environ | {"HF_HOME": str(cache)} | (variables or OFFLINE)
    done = run_script([str(cache / "download.py")], environment, cache)
    assert done.returncode == 0, done.stderr
    assert "Retrying" not in done.stderr
    return done.stdout.strip()


def test_pretrained_weights_are_read_from_the_hugging_face_cache(tmp_path: Path) -> None:
    message = "cannot download timm's weights of test_resnet: this machine is offline: "
    assert download(tmp_path).startswith(f"{message}HF_HUB_OFFLINE is set, and its cache does not have them. ")
    refused = download(tmp_path, **UNREACHABLE)
    assert refused.startswith(f"{message}http://127.0.0.1:9 cannot be reached (")
    assert 'set weights = "none"' in refused

    from safetensors.torch import save_file

    weights = timm.create_model("test_resnet").state_dict()
    weights["conv1.0.weight"] = torch.full_like(weights["conv1.0.weight"], 0.25)
    snapshot = tmp_path / "hub" / "models--timm--test_resnet.r160_in1k" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    save_file(weights, snapshot / "model.safetensors")
    assert download(tmp_path) == download(tmp_path, **UNREACHABLE) == "0.25"


def test_a_recipe_names_the_model_and_the_run_records_it_as_an_option(tmp_path: Path) -> None:
    (tmp_path / "timm.toml").write_text(RECIPE)
    run = train(load_recipe(tmp_path / "timm.toml"), tmp_path)
    assert 'use = "sslkit-backbones:timm"\nmodel = "test_resnet"' in run.recipe.read_text()
    assert RunSubject(run, "cpu").features("test").features.shape == (359, 96)


def test_naming_the_model_twice_raises(tmp_path: Path) -> None:
    (tmp_path / "timm.toml").write_text(RECIPE)
    with pytest.raises(sslkit.RecipeError) as error:
        load_recipe(tmp_path / "timm.toml", ["backbone.model=test_vit"])
    assert "backbone.model: is set twice: 'timm:test_resnet' sets it already" in str(error.value)
