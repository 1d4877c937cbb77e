"""That each method learns: features of the trained network tell digits apart better than those of the untrained one."""

from __future__ import annotations

from pathlib import Path

import pytest

from sslkit.data.label_subsets import nested_fractions
from sslkit.evaluation.knn_classifier import knn_accuracy
from sslkit.evaluation.subject import RunSubject
from sslkit.recipe.check import load_recipe
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
    """One labelled image in fifty is enough for a nearest neighbour, where it is not for untrained features."""
    (tmp_path / "recipe.toml").write_text(RECIPE + METHODS[loss] + f'\n[loss]\nuse = "{loss}"\n')
    run = train(load_recipe(tmp_path / "recipe.toml"), tmp_path / "runs")

    def accuracy(*, untrained: bool) -> float:
        subject = RunSubject(run, "cpu", untrained=untrained)
        known, asked = subject.features("train"), subject.features("test")
        assert known.labels is not None
        assert asked.labels is not None
        found = []
        for seed in range(5):
            places = nested_fractions(known.labels, [0.02], seed)[0.02]
            bank = known.features[places], known.labels[places]
            found.append(knn_accuracy(*bank, asked.features, asked.labels, 1, classes=10))
        return sum(found) / 5

    assert accuracy(untrained=False) > accuracy(untrained=True) + 0.05
