"""Metrics in metrics.csv: mean losses, learning rates and validation metrics, each at the right step."""

from __future__ import annotations

from pathlib import Path

import pytest
from equal_runs import metric_rows
from recording_reporter import RecordingReporter

from sslkit.assembly.assemble import assemble
from sslkit.contracts.loss import LossOutput, ViewOutputs
from sslkit.recipe.load import load_recipe
from sslkit.training.checkpoint.checkpoint_files import load_checkpoint
from sslkit.training.monitor.validation import ValidationMonitor
from sslkit.training.train import train
from sslkit_selfcls.loss import SelfClassifierLoss


def test_losses_are_means_and_the_best_checkpoint_may_be_an_earlier_one(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = SelfClassifierLoss.forward

    def forward_with_rising_loss(self: SelfClassifierLoss, views: ViewOutputs) -> LossOutput:
        output = forward(self, views)
        return LossOutput(0 * output.total + views.step + 1, output.terms, output.per_classifier)

    monkeypatch.setattr(SelfClassifierLoss, "forward", forward_with_rising_loss)
    run = train(load_recipe(tiny), tmp_path / "runs")
    values = {(row.metric, row.step): row.value for row in metric_rows(run)}
    assert [values["loss", step] for step in (3, 6, 9, 10)] == [2, 5, 8, 10]
    assert [values["epoch_loss", step] for step in (5, 10)] == [3, 8]
    assert load_checkpoint(run.checkpoints / "best.ckpt")["global_step"] == 5


def test_a_row_has_the_learning_rate_of_its_step(tiny: Path, tmp_path: Path) -> None:
    settings = ["monitor.log_every_steps=1", "optimizer.warmup_epochs=1", "optimizer.warmup_lr=0.0", "optimizer.lr=0.5"]
    run = train(load_recipe(tiny, [*settings, "monitor.every_epochs=0"]), tmp_path / "runs")
    rates = [row.value for row in metric_rows(run) if row.metric == "lr"]
    assert rates[0] == 0, "the warm-up starts at warmup_lr"
    assert max(rates) == rates[5] == 0.5


def test_validation_separates_bank_and_queries_and_reports_one_to_one_accuracy(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = ValidationMonitor(assemble(load_recipe(tiny)))
    bank, queries = set(monitor.bank.tolist()), set(monitor.queries.tolist())
    assert not bank & queries
    assert len(bank | queries) == 1438
    scores = {"acc": 0.25, "acc_many_to_one": 0.5, "nmi": 0.125}
    monkeypatch.setattr("sslkit.training.monitor.validation.cluster_scores", lambda *_: scores)
    metrics = monitor.measure(0)
    assert (metrics["acc"], metrics["nmi"]) == (0.25, 0.125)


def test_the_last_epoch_is_always_measured(tiny: Path, tmp_path: Path) -> None:
    run = train(load_recipe(tiny, ["train.epochs=3", "monitor.every_epochs=2"]), tmp_path / "runs")
    assert [row.step for row in metric_rows(run) if row.metric == "monitor/acc"] == [10, 15]


def test_knn_accuracy_is_measured_before_the_first_step(tiny: Path, tmp_path: Path) -> None:
    recipe = load_recipe(tiny)
    untrained = ValidationMonitor(assemble(recipe)).measure(None)["knn"]
    reporter = RecordingReporter()
    run = train(recipe, tmp_path, reporter)
    measured = [(row.step, row.value) for row in metric_rows(run) if row.metric == "monitor/knn"]
    assert measured[0] == (0, pytest.approx(untrained))
    assert len(measured) == 3
    assert reporter.notes[-1] == f"before the first step: knn {untrained:.3f}"

    unmeasured = train(load_recipe(tiny, ["monitor.every_epochs=0"]), tmp_path)
    assert "monitor/knn" not in {row.metric for row in metric_rows(unmeasured)}
