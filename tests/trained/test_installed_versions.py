"""A run whose components are missing, or of another version, says so and is evaluated as far as that goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sslkit.errors import RecipeError
from sslkit.evaluation.evaluate import build_evaluators, evaluate
from sslkit.recipe.load import load_recipe
from sslkit.runs.run import Run
from sslkit.trained.installed_versions import version_differences
from sslkit.training.train import train

SETTINGS = ["train.epochs=1"]


@pytest.fixture
def run(tiny: Path, tmp_path: Path) -> Run:
    return train(load_recipe(tiny, SETTINGS), tmp_path / "runs")


def gone(run: Run, use: str, kind: str) -> None:
    """As if that component had come from a distribution that is not installed any more."""
    run.recipe.write_text(run.recipe.read_text().replace(f'"{use}"', '"vanished:thing"'))
    record = json.loads(run.provenance.read_text())
    for component in record["components"].values():
        if component["kind"] == kind:
            component |= {"distribution": "vanished", "name": "thing", "version": "2.0"}
    run.provenance.write_text(json.dumps(record))


def test_what_is_installed_as_it_was_is_not_mentioned(run: Run) -> None:
    assert version_differences(run) == ()
    assert "notes" not in evaluate(run, build_evaluators({"cluster": {}}))


def test_another_version_is_told(run: Run) -> None:
    record = json.loads(run.provenance.read_text())
    record["components"]["backbone"]["version"] = "0.0.9"
    run.provenance.write_text(json.dumps(record))
    told = "the run was trained with the backbone 'convnet' of sslkit-backbones 0.0.9; installed is 0.1.0"
    assert version_differences(run) == (told,)
    assert evaluate(run, build_evaluators({"knn": {}}))["notes"] == [told]


def test_a_missing_loss_changes_no_figure(run: Run) -> None:
    before = evaluate(run, build_evaluators({"cluster": {}}))
    gone(run, "sslkit-selfcls:selfcls", "loss")
    after = evaluate(run, build_evaluators({"cluster": {}}))
    assert after["cluster"] == before["cluster"]
    assert after["notes"] == ["the loss 'thing' of vanished 2.0, which the run was trained with, is not installed"]


def test_without_its_head_a_run_has_features_alone(run: Run) -> None:
    before = evaluate(run, build_evaluators({"knn": {}}))
    gone(run, "sslkit-selfcls:selfcls-mlp", "head")
    after = evaluate(run, build_evaluators({"knn": {}, "cluster": {}}))
    assert after["knn"] == before["knn"]
    assert after["protocol"]["cluster"]["assigned_by"] == "k-means on features"
    assert after["notes"][1].startswith("without its head, only features are evaluated: no installed head is called")


def test_without_its_backbone_there_is_nothing_to_evaluate(run: Run) -> None:
    gone(run, "sslkit-backbones:convnet", "backbone")
    with pytest.raises(RecipeError, match="no installed backbone is called 'vanished:thing'"):
        evaluate(run, build_evaluators({"knn": {}}))
