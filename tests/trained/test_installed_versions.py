"""Runs whose components are missing or have a different version are evaluated as far as possible, with notes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sslkit.errors import RecipeError
from sslkit.evaluation.build_evaluators import build_evaluators
from sslkit.evaluation.evaluate import evaluate
from sslkit.recipe.load import load_recipe
from sslkit.runs.run import Run
from sslkit.trained.installed_versions import version_differences
from sslkit.training.train import train

SETTINGS = ["train.epochs=1"]


@pytest.fixture
def run(tiny: Path, tmp_path: Path) -> Run:
    return train(load_recipe(tiny, SETTINGS), tmp_path / "runs")


def remove_component(run: Run, use: str, kind: str) -> None:
    """Change the run's records as if the component came from a distribution that is no longer installed."""
    run.recipe.write_text(run.recipe.read_text().replace(f'"{use}"', '"vanished:thing"'))
    record = json.loads(run.provenance.read_text())
    for component in record["components"].values():
        if component["kind"] == kind:
            component |= {"distribution": "vanished", "name": "thing", "version": "2.0"}
    run.provenance.write_text(json.dumps(record))


def test_without_differences_there_are_no_notes(run: Run) -> None:
    assert version_differences(run) == ()
    assert evaluate(run, build_evaluators({"cluster": {}})).notes == []


def test_another_version_is_noted(run: Run) -> None:
    record = json.loads(run.provenance.read_text())
    record["components"]["backbone"]["version"] = "0.0.9"
    run.provenance.write_text(json.dumps(record))
    note = "the run was trained with the backbone 'convnet' of sslkit-backbones 0.0.9; installed is 0.1.0"
    assert version_differences(run) == (note,)
    assert evaluate(run, build_evaluators({"knn": {}})).notes == [note]


def test_a_missing_loss_changes_no_metric(run: Run) -> None:
    before = evaluate(run, build_evaluators({"cluster": {}}))
    remove_component(run, "sslkit-selfcls:selfcls", "loss")
    after = evaluate(run, build_evaluators({"cluster": {}}))
    assert after.evaluators == before.evaluators
    assert after.notes == ["the loss 'thing' of vanished 2.0, which the run was trained with, is not installed"]


def test_without_its_head_only_the_features_of_a_run_are_evaluated(run: Run) -> None:
    before = evaluate(run, build_evaluators({"knn": {}}))
    remove_component(run, "sslkit-selfcls:selfcls-mlp", "head")
    after = evaluate(run, build_evaluators({"knn": {}, "cluster": {}}))
    assert after.evaluators["knn"].metrics == before.evaluators["knn"].metrics
    assert after.evaluators["cluster"].protocol["assigned_by"] == "k-means on features"
    assert after.notes[1].startswith("without its head, only features are evaluated: no installed head is called")


def test_without_its_backbone_a_run_is_refused(run: Run) -> None:
    remove_component(run, "sslkit-backbones:convnet", "backbone")
    with pytest.raises(RecipeError, match="no installed backbone is called 'vanished:thing'"):
        evaluate(run, build_evaluators({"knn": {}}))
