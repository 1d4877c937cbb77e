"""Baseline ``pretrained``: the weights that training started from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sslkit.errors import InputError, RunError
from sslkit.evaluation.build_evaluators import build_evaluators
from sslkit.evaluation.evaluate import evaluate
from sslkit.recipe.load import load_recipe
from sslkit.runs.evaluation_result import EvaluationResult
from sslkit.runs.run import Run
from sslkit.training.train import train

FROZEN = (
    'backbone.train="none"',
    'views={use="plain"}',
    'positives={use="neighbours", k=5}',
    "optimizer.lr=0.01",
)

OPTIONS = {"cluster": {"kmeans_restarts": 2}, "knn": {}}


def measure(run: Run, *baselines: str) -> EvaluationResult:
    return evaluate(run, build_evaluators(OPTIONS), baselines=baselines)


@pytest.fixture(scope="module")
def parent(tiny_recipe_text: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("parent")
    (folder / "tiny.toml").write_text(tiny_recipe_text)
    return train(load_recipe(folder / "tiny.toml"), folder / "runs")


def start_from(weights: Path, tiny: Path, runs: Path, *settings: str) -> Run:
    return train(load_recipe(tiny, [f'backbone.weights="{weights}"', *settings]), runs)


@pytest.fixture
def child(parent: Run, tiny: Path, tmp_path: Path) -> Run:
    """A run that trained the weights in ``weights.safetensors``."""
    weights = Path(shutil.copy(parent.backbone, tmp_path / "weights.safetensors"))
    return start_from(weights, tiny, tmp_path / "runs", "optimizer.lr=0.01", "run.seed=7")


def test_the_weights_that_training_started_from(child: Run, parent: Run, tmp_path: Path) -> None:
    of_parent = measure(parent).evaluators
    result = measure(child, "random", "pretrained").evaluators
    for part in result.values():
        assert set(part.baselines) >= {"random_weights", "pretrained_weights"}
    knn, cluster = result["knn"], result["cluster"]
    assert knn.baselines["pretrained_weights"].metrics == of_parent["knn"].metrics
    assert knn.metrics != of_parent["knn"].metrics
    # These weights have no head: k-means on their features, although the trained network has classes.
    start = cluster.baselines["pretrained_weights"]
    assert start.metrics == of_parent["cluster"].baselines["kmeans_features"].metrics
    assert start.metrics != cluster.baselines["kmeans_features"].metrics
    assert start.protocol["head"] == "none: these weights have no head"
    assert start.protocol["assigned_by"] == "k-means on features"
    assert "classifier" not in start.protocol
    assert start.protocol["weights"] == str(tmp_path / "weights.safetensors")
    assert cluster.protocol["assigned_by"] == "argmax of logits"
    assert "weights" not in cluster.protocol


def test_the_parent_run_starts_with_its_classes(parent: Run, tiny: Path) -> None:
    runs = parent.path.parent.parent
    run = train(load_recipe(tiny, ["optimizer.lr=0.01"]), runs, parent=parent)
    start = measure(run, "pretrained").evaluators["cluster"].baselines["pretrained_weights"]
    assert start.metrics == measure(parent).evaluators["cluster"].metrics
    assert start.protocol["assigned_by"] == "argmax of logits"
    assert start.protocol["weights"] == f"backbone and heads of {parent.name}"
    alone = Run(Path(shutil.copytree(run.path, runs.with_name("moved") / "tiny" / run.path.name)))
    with pytest.raises(RunError, match=rf"continues {parent.name}, whose weights are needed: .*moved"):
        measure(alone, "pretrained")


def test_a_frozen_run_has_the_features_that_it_started_from(parent: Run, tiny: Path, tmp_path: Path) -> None:
    run = start_from(parent.backbone, tiny, tmp_path / "runs", *FROZEN)
    result = measure(run, "pretrained").evaluators
    cluster, knn = result["cluster"], result["knn"]
    start = cluster.baselines["pretrained_weights"]
    assert start.metrics == cluster.baselines["kmeans_features"].metrics != cluster.metrics
    assert start.protocol["assigned_by"] == "k-means on features"
    assert knn.baselines["pretrained_weights"].metrics == knn.metrics


def test_a_frozen_second_stage_is_compared_with_the_classes_of_its_parent(parent: Run, tiny: Path) -> None:
    run = train(load_recipe(tiny, FROZEN), parent.path.parent.parent, parent=parent)
    result = measure(run, "pretrained").evaluators
    start = result["cluster"].baselines["pretrained_weights"]
    assert start.protocol["assigned_by"] == "argmax of logits"
    assert start.metrics != result["cluster"].metrics
    assert result["knn"].baselines["pretrained_weights"].metrics == result["knn"].metrics


def test_random_weights_are_no_pretrained_weights(parent: Run) -> None:
    before = len(list(parent.evaluations.iterdir()))
    with pytest.raises(InputError, match=r"started from random weights.*use the baseline random"):
        measure(parent, "pretrained")
    assert len(list(parent.evaluations.iterdir())) == before


def test_weights_that_have_changed_are_refused(child: Run, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    state = load_file(path)
    name = next(name for name in state if state[name].is_floating_point())
    state[name].view(-1)[0] += 1
    save_file(state, path, metadata)
    with pytest.raises(InputError, match=r"did not start from these weights .*weights\.safetensors.* have changed"):
        measure(child, "pretrained")
    path.unlink()
    with pytest.raises(Exception, match=r"there is no file .*weights\.safetensors"):
        measure(child, "pretrained")
