"""DeepCluster v2 and SeLa learn: trained features classify digits better than untrained features."""

from __future__ import annotations

from pathlib import Path

import pytest
from few_label_accuracy import accuracy

from sslkit.recipe.load import load_recipe
from sslkit.training.train import train

RECIPE = """
[train]
epochs = 8
batch_size = 128
[data]
use = "digits"
size = 8
[views]
use = "affine"
padding = "zeros"
degrees = 20
[backbone]
use = "convnet"
width = 16
[head]
use = "selfcls-mlp"
hidden_dims = [128]
embedding_dim = 64
classifiers = [20, 20, 20]
train_gain = false
[loss]
%s
[optimizer]
use = "adamw"
lr = 2e-3
warmup_epochs = 1
[monitor]
every_epochs = 0
"""

LOSSES = {
    "deepcluster-v2": "prototypes = [20, 20, 20]",
    "sela": "assignments = 8\nsinkhorn_iterations = 20",
}


@pytest.mark.parametrize("loss", LOSSES)
def test_learns(loss: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE % f'use = "{loss}"\n{LOSSES[loss]}')
    run = train(load_recipe(tmp_path / "recipe.toml"), tmp_path / "runs")
    assert accuracy(run, "trained") > accuracy(run, "random") + 0.1
