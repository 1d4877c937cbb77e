"""Training with the losses: terms in the metrics, exact resume, classifier selection, and a second stage."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from equal_runs import assert_equal_runs
from recording_reporter import at_step

from sslkit.recipe.load import load_recipe
from sslkit.runs.metrics_file import read_metrics
from sslkit.runs.weights_metadata import read_backbone_metadata
from sslkit.training.train import resume, train

RECIPE = """
[train]
epochs = 2
batch_size = 256
checkpoint_every = "3 steps"
[data]
use = "digits"
size = 8
[views]
use = "affine"
[backbone]
use = "convnet"
width = 4
[head]
use = "selfcls-mlp"
hidden_dims = []
classifiers = [10, 12]
train_gain = false
[loss]
use = "{loss}"
{options}
[optimizer]
use = "adamw"
lr = 1e-3
[monitor]
every_epochs = 0
[evaluation]
classifier = "lowest-loss"
"""

TERMS = {
    "scan": {"consistency", "class_balance"},
    "temi": {"weight", "class_balance"},
    "secu": {"prediction", "centres", "changed", "smallest_class"},
    "self-label": {"confident", "classes_present", "agreement", "smallest_class"},
    "deepcluster-v2": {"used_prototypes", "largest_cluster"},
    "sela": {"changed", "agreement", "smallest_class"},
    "ruc": {"refinement", "guessing", "smoothing", "agreement", "clean", "smallest_class"},
}

OPTIONS = {
    "ruc": 'selection = "neighbours"',  # untrained classifiers are never confident
    "deepcluster-v2": "prototypes = [12, 10]",
    "sela": "assignments = 3\nsinkhorn_iterations = 10",
}


def write(folder: Path, loss: str) -> Path:
    path = folder / f"{loss}.toml"
    text = RECIPE.format(loss=loss, options=OPTIONS.get(loss, ""))
    # This loss has prototypes of its own, and does not return the loss of each classifier.
    path.write_text(text.replace('"lowest-loss"', "0") if loss == "deepcluster-v2" else text)
    return path


@pytest.mark.parametrize("loss", TERMS)
def test_an_interrupted_run_resumes_to_the_same_bits(loss: str, tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, loss))
    uninterrupted = train(recipe, tmp_path / "uninterrupted")
    run = train(recipe, tmp_path / "interrupted", at_step(7, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert run.status.state == "interrupted"
    assert_equal_runs(resume(run), uninterrupted)
    logged = {row.metric for row in read_metrics(run.metrics)}
    assert {f"{loss}/{term}" for term in TERMS[loss]} == {name for name in logged if name.startswith(f"{loss}/")}


def test_secu_stores_a_label_for_each_training_image(tmp_path: Path) -> None:
    run = train(load_recipe(write(tmp_path, "secu"), ["monitor.log_every_steps=1"]), tmp_path)
    images = json.loads(run.provenance.read_text())["training_images"]
    assert read_backbone_metadata(run.backbone)["context"]["training_images"] == images
    changed = [row.value for row in read_metrics(run.metrics) if row.metric == "secu/changed"]
    assert changed[:5] == [1] * 5, "no image has a label in the first epoch"
    assert max(changed[5:]) < 1, "all images but those that were left out have a label in the second epoch"


def test_self_labelling_continues_a_run(tmp_path: Path) -> None:
    parent = train(load_recipe(write(tmp_path, "scan")), tmp_path)
    child = train(load_recipe(write(tmp_path, "self-label"), ["loss.threshold=0.2"]), tmp_path, parent=parent)
    confident = [row.value for row in read_metrics(child.metrics) if row.metric == "self-label/confident"]
    assert min(confident) > 0


def test_ruc_refines_the_labels_of_a_run(tmp_path: Path) -> None:
    parent = train(load_recipe(write(tmp_path, "scan")), tmp_path)
    recipe = load_recipe(write(tmp_path, "ruc"), ["loss.promotion_threshold=0.2"])
    child = train(recipe, tmp_path, parent=parent)
    values = {row.metric: row.value for row in read_metrics(child.metrics) if row.metric.startswith("ruc/")}
    assert 0 < values["ruc/clean"] < 1
    assert values["ruc/smallest_class"] < 1
