"""Selection of the classifier for monitoring and evaluation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from equal_runs import metric_rows

from sslkit.contracts.loss import LossOutput, ViewOutputs
from sslkit.errors import RecipeError
from sslkit.recipe.load import load_recipe
from sslkit.runs.weights_header import read_metadata
from sslkit.training.train import train
from sslkit_selfcls.loss import SelfClassifierLoss


def test_the_classifier_with_the_lowest_loss_is_selected_and_monitored(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = SelfClassifierLoss.forward

    def with_fixed_losses(self: SelfClassifierLoss, views: ViewOutputs) -> LossOutput:
        output = forward(self, views)
        # The third classifier has the lowest loss, but the second has the lowest loss relative to ln K.
        return LossOutput(output.total, output.terms, tuple(map(torch.tensor, (2.2, 1.0, 0.9))))

    monkeypatch.setattr(SelfClassifierLoss, "forward", with_fixed_losses)
    settings = ["head.classifiers=[10, 12, 3]", "evaluation.classifier=lowest-loss"]
    run = train(load_recipe(tiny, settings), tmp_path / "runs")
    assert read_metadata(run.heads)["classifier"] == 1
    assert {row.value for row in metric_rows(run) if row.metric == "monitor/ln_k"} == {math.log(12)}


def test_lowest_loss_needs_a_loss_per_classifier(tiny: Path, tmp_path: Path, install: Any) -> None:
    source = """
import sslkit
class Mute(sslkit.Loss):
    api = 2
    needs = frozenset({"logits"})
    def forward(self, views):
        return sslkit.LossOutput(views.student.logits[0][0].square().mean())
"""
    install("plug", "[sslkit.losses]\nmute = mute_loss:Mute\n", mute_loss=source)
    recipe = load_recipe(tiny, ["loss.use=mute", "evaluation.classifier=lowest-loss"])
    with pytest.raises(RecipeError, match=r"evaluation.classifier: no loss returns the loss of each classifier of the"):
        train(recipe, tmp_path / "runs")
