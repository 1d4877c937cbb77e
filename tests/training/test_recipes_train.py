"""Every recipe of the repository trains: a few steps on a handful of made-up images."""

from __future__ import annotations

import math
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn import ModuleList

from sslkit.assembly.assemble import assemble
from sslkit.recipe.check import load_recipe
from sslkit.runs.metrics_file import read_history
from sslkit.training.train import train

ROOT = Path(__file__).parents[2] / "recipes"
RECIPES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.toml"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    random = numpy.random.default_rng(0)
    for split, count in (("train", 5), ("test", 2)):
        for label in ("cat", "dog"):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=numpy.uint8)).save(folder / f"{number}.png")
    return root


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_trains(name: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLKIT_CACHE", str(tmp_path / "cache"))
    settings = ["train.batch_size=4", "train.epochs=2", "monitor.log_every_steps=1", "monitor.validation_fraction=0.4"]
    if not name.startswith("quickstart"):
        settings += ["data.use=image-folder", f"data.root={pictures}"]
    else:
        settings += ["train.batch_size=256"]
    if "start_epoch" in (ROOT / name).read_text():
        settings += ["loss.classes.start_epoch=1"]
    settings += ["optimizer.warmup_epochs=0"]
    recipe = load_recipe(ROOT / name, settings)
    run = train(recipe, tmp_path / "runs")
    losses = [row.value for row in read_history(run.metrics) if row.metric == "loss"]
    assert run.status.state == "finished"
    assert len(losses) == run.status.steps
    assert all(math.isfinite(loss) and loss > 0 for loss in losses)
    assert run.complete
    start = assemble(recipe).method
    for part, file in ((start.backbone, run.backbone), (ModuleList(start.heads.values()), run.heads)):
        found = load_file(file)
        assert [key for key, value in part.named_parameters() if torch.equal(found[key], value)] == []
