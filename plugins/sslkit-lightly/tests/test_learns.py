"""Each method learns: trained features classify digits better than untrained features."""

from __future__ import annotations

from pathlib import Path

import pytest

from sslkit.data.label_subsets import nested_subsets
from sslkit.evaluation.knn_classifier import knn_accuracy
from sslkit.evaluation.run_subject import RunSubject
from sslkit.recipe.load import load_recipe
from sslkit.trained.network import NetworkWeights
from sslkit.training.train import train

RECIPE = """
[train]
epochs = 12
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
[optimizer]
use = "adamw"
lr = 2e-3
warmup_epochs = 1
[monitor]
every_epochs = 0
"""

METHODS = {
    "swav": '[head]\nuse = "swav"\nprototypes = [60]\nhidden_dim = 128\nfreeze_prototypes = "1 epochs"',
    "simclr": '[head]\nuse = "projection"\nhidden_dim = 128\nembedding_dim = 64',
    "barlow-twins": '[head]\nuse = "projection"\nhidden_dim = 128\nembedding_dim = 64',
    "vicreg": '[head]\nuse = "projection"\nhidden_dim = 128\nembedding_dim = 64',
    "byol": """
[method]
use = "momentum-teacher"
momentum = 0.97
[head]
use = "projection"
hidden_dim = 128
embedding_dim = 64
last_batch_norm = false
""",
    "dino": """
[method]
use = "momentum-teacher"
momentum = 0.97
[head]
use = "dino"
hidden_dim = 128
embedding_dim = 64
classifiers = [128]
""",
}


@pytest.mark.parametrize("loss", METHODS)
def test_learns(loss: str, tmp_path: Path) -> None:
    """Features are measured by a nearest-neighbour classifier with 2 % of the labels."""
    (tmp_path / "recipe.toml").write_text(RECIPE + METHODS[loss] + f'\n[loss]\nuse = "{loss}"\n')
    run = train(load_recipe(tmp_path / "recipe.toml"), tmp_path / "runs")

    def accuracy(weights: NetworkWeights) -> float:
        subject = RunSubject(run, "cpu", weights=weights)
        train_set, test_set = subject.features("train"), subject.features("test")
        assert train_set.labels is not None
        assert test_set.labels is not None
        accuracies = []
        for seed in range(5):
            subset = nested_subsets(train_set.labels, [0.02], seed)[0.02]
            bank = train_set.features[subset], train_set.labels[subset]
            accuracies.append(knn_accuracy(*bank, test_set.features, test_set.labels, 1, classes=10))
        return sum(accuracies) / 5

    assert accuracy("trained") > accuracy("random") + 0.05
