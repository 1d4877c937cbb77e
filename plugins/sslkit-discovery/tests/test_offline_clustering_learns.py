"""DeepCluster v2 and SeLa learn: trained features classify digits better than untrained features."""

from __future__ import annotations

from pathlib import Path

import pytest
from few_label_accuracy import RECIPE, accuracy

from sslkit.recipe.load import load_recipe
from sslkit.training.train import train

HEAD = """
[head]
use = "selfcls-mlp"
hidden_dims = [128]
embedding_dim = 64
classifiers = [20, 20, 20]
train_gain = false
"""

LOSSES = {
    "deepcluster-v2": "prototypes = [20, 20, 20]",
    "sela": "assignments = 8\nsinkhorn_iterations = 20",
}


@pytest.mark.parametrize("loss", LOSSES)
def test_learns(loss: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(f'{RECIPE}{HEAD}[loss]\nuse = "{loss}"\n{LOSSES[loss]}\n')
    run = train(load_recipe(tmp_path / "recipe.toml", ["train.epochs=8"]), tmp_path / "runs")
    assert accuracy(run, "trained") > accuracy(run, "random") + 0.1
