"""Every recipe of the repository can train for a few steps on a few random images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from shipped_recipes import FROM_RUN, FROZEN, NARROW_HEAD, RECIPES, SHIPPED, SMALL_LOSS
from torch.nn import ModuleList

from sslkit.assembly.assemble import assemble
from sslkit.recipe.load import load_recipe
from sslkit.recipe.recipe import Recipe
from sslkit.runs.metrics_file import read_metrics
from sslkit.training.train import train

NEGATIVE = {"dcl", "emp-ssl", "fastsiam", "frossl", "mmcr", "simsiam"}
"""Recipes whose loss can be negative."""
OWN_BACKBONE = {
    *("paper/selfcls-alexnet", "paper/selfcls-resnet18-1-hidden", "paper/swav-augmentation-1"),
    *("adapt", "pretrained", "ruc", "self-label", "simclr"),
    *(name for name in SHIPPED if name.startswith("cpu/")),
}
"""Recipes that train their own network. The others, with the same backbones, only build it, and train a small one."""
SMALL_BACKBONE = "backbone={use='convnet', width=2}"


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    random = numpy.random.default_rng(0)
    for split, count in (("train", 5), ("test", 2)):
        for label in ("cat", "dog"):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=numpy.uint8)).save(folder / f"{number}.png")
    return root


def small_recipe(name: str, image_folder: Path, backbone: Sequence[str] = ()) -> Recipe:
    """Return a recipe of two epochs of small batches, with other settings of the backbone."""
    path = RECIPES / f"{name}.toml"
    settings = ["train.batch_size=4", "train.epochs=2", "monitor.log_every_steps=1", "monitor.validation_fraction=0.4"]
    settings += ["train.checkpoint_every=2 epochs"]  # a checkpoint of a large head takes longer than its training
    if not name.startswith("quickstart"):
        settings += ["data.use=image-folder", f"data.root={image_folder}"]
    else:
        settings += ["train.batch_size=256"]
    if load_recipe(path).resolved()["views"]["size"] == "auto":
        settings += ["views.size=16"]  # half of the images' side, so that ResNet-18 trains in a quarter of the time
    if name in FROZEN:
        settings += ["positives.k=2"]
    if name.endswith("self-label"):
        settings += ["loss.threshold=0.05"]  # untrained classifiers are never confident
    if name == "ruc":
        settings += ["loss.selection='confidence'", "loss.threshold=0.05"]
    return load_recipe(path, [*settings, *backbone, *SMALL_LOSS.get(name, [])])


@pytest.mark.parametrize("name", SHIPPED)
def test_the_recipe_trains(name: str, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SSLKIT_RUNS", str(tmp_path / "runs"))
    settings = [] if name in OWN_BACKBONE else [SMALL_BACKBONE, *NARROW_HEAD.get(name, [])]
    if name in FROM_RUN:
        train(small_recipe(FROM_RUN[name], image_folder, settings), tmp_path / "runs")
        settings = settings and ["backbone.use=convnet", "backbone.width=2"]  # with the weights of the run
    elif settings:
        assemble(small_recipe(name, image_folder))
    recipe = small_recipe(name, image_folder, settings)
    run = train(recipe, tmp_path / "runs")
    losses = [row.value for row in read_metrics(run.metrics) if row.metric == "loss"]
    assert run.status.state == "finished"
    assert len(losses) == run.status.steps
    assert all(math.isfinite(loss) and (loss >= 0 or name in NEGATIVE) for loss in losses)
    assert run.has_weights
    initial = assemble(recipe).method
    for part, file in ((initial.backbone, run.backbone), (ModuleList(initial.heads.values()), run.heads)):
        trained = load_file(file)
        unchanged = {key for key, value in part.named_parameters() if torch.equal(trained[key], value)}
        assert unchanged == {key for key, value in part.named_parameters() if not value.requires_grad}
