"""Each method learns: trained features classify digits better than untrained features."""

from __future__ import annotations

from pathlib import Path

import pytest
from few_label_accuracy import RECIPE, accuracy

from sslkit.recipe.load import load_recipe
from sslkit.training.train import train

PROJECTION = """
[head]
use = "projection"
hidden_dim = 128
embedding_dim = 64
"""

TEACHER = """
[method]
use = "momentum-teacher"
momentum = 0.97
"""

# Head, method and options of each loss; the last line is in the table [loss].
METHODS = {
    "swav": '[head]\nuse = "swav"\nprototypes = [60]\nhidden_dim = 128\nfreeze_prototypes = "1 epochs"\n[loss]',
    "simclr": PROJECTION + "[loss]",
    "barlow-twins": PROJECTION + "[loss]",
    "vicreg": PROJECTION + "[loss]",
    "byol": TEACHER + PROJECTION + "last_batch_norm = false\n[loss]",
    "dino": TEACHER + '[head]\nuse = "dino"\nhidden_dim = 128\nembedding_dim = 64\nclassifiers = [128]\n[loss]',
    "moco": TEACHER + PROJECTION + "last_batch_norm = false\n[loss]\nqueue_size = 512",
    "moco-v3": TEACHER + PROJECTION + "[loss]\npredictor_dim = 128\ntemperature = 0.2",
    "simsiam": PROJECTION + "[loss]\npredictor_dim = 32",
    "fastsiam": PROJECTION + "[loss]\npredictor_dim = 32",
    "nnclr": PROJECTION + "[loss]\npredictor_dim = 128\nqueue_size = 512",
    "dcl": PROJECTION + "[loss]",
    "dclw": PROJECTION + "[loss]",
    "tico": TEACHER + PROJECTION + "last_batch_norm = false\n[loss]",
    "mmcr": TEACHER.replace("0.97", "0.9") + PROJECTION + "last_batch_norm = false\n[loss]",
    "emp-ssl": PROJECTION + "[loss]",
    "frossl": PROJECTION + "[loss]",
    "lejepa": PROJECTION + "last_batch_norm = false\n[loss]",
    "directclr": "[loss]\nloss_dim = 16",
    "w-mse": PROJECTION + "last_batch_norm = false\n[loss]\nw_size = 128",
}


FAST = {"swav", "simclr", "barlow-twins", "vicreg", "byol", "dino"}
"""Losses of which every test run trains a network; `make soak` trains one for each of the others."""


@pytest.mark.parametrize(
    "loss", [loss if loss in FAST else pytest.param(loss, marks=pytest.mark.soak) for loss in METHODS]
)
def test_learns(loss: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE + METHODS[loss] + f'\nuse = "{loss}"\n')
    settings = ["train.epochs=8"] if loss in FAST else []
    run = train(load_recipe(tmp_path / "recipe.toml", settings), tmp_path / "runs")
    assert accuracy(run, "trained") > accuracy(run, "random") + 0.05


TRANSFORMER_RECIPE = """
[train]
epochs = 30
batch_size = 128
[data]
use = "digits"
size = 16
[views]
use = "affine"
padding = "zeros"
degrees = 10
views = 1
[backbone]
use = "timm:vit_tiny_patch16_224"
arguments = { patch_size = 4, embed_dim = 48, depth = 3, num_heads = 3 }
[optimizer]
use = "adamw"
lr = 2e-3
warmup_epochs = 2
[monitor]
every_epochs = 0
[method]
"""

MASKED = {"mae": "decoder_dim = 48\ndecoder_depth = 1\ndecoder_heads = 3", "simmim": ""}
"""Options of the methods that predict masked pixels."""


@pytest.mark.soak
@pytest.mark.parametrize("method", MASKED)
def test_a_transformer_learns_from_masked_images(method: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(TRANSFORMER_RECIPE + f'use = "{method}"\n{MASKED[method]}\n')
    run = train(load_recipe(tmp_path / "recipe.toml"), tmp_path / "runs")
    assert accuracy(run, "trained") > accuracy(run, "random") + 0.05
