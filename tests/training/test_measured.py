"""What a history holds: means of losses, and what monitors measure, when they should."""

from __future__ import annotations

from pathlib import Path

import pytest
from bits import rows
from notes import Notes

from sslkit.assembly.assemble import assemble
from sslkit.contracts.loss import LossOutput, ViewOutputs
from sslkit.recipe.check import load_recipe
from sslkit.training.checkpoint.files import load_checkpoint
from sslkit.training.monitor.validation import ValidationMonitor
from sslkit.training.train import train
from sslkit_selfcls.loss import SelfClassifierLoss


def test_the_history_has_means_of_what_was_lost_and_the_best_need_not_be_the_last(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = SelfClassifierLoss.forward

    def rising(self: SelfClassifierLoss, views: ViewOutputs) -> LossOutput:
        found = honest(self, views)
        return LossOutput(0 * found.total + views.step + 1, found.terms, found.per_classifier)

    monkeypatch.setattr(SelfClassifierLoss, "forward", rising)
    run = train(load_recipe(tiny), tmp_path / "runs")
    lost = {(metric, step): value for step, _, metric, value in rows(run)}
    assert [lost["loss", step] for step in (3, 6, 9, 10)] == [2, 5, 8, 10]
    assert [lost["epoch_loss", step] for step in (5, 10)] == [3, 8]
    assert load_checkpoint(run.checkpoints / "best.ckpt")["global_step"] == 5


def test_the_rate_of_a_row_is_that_its_step_was_taken_with(tiny: Path, tmp_path: Path) -> None:
    settings = ["monitor.log_every_steps=1", "optimizer.warmup_epochs=1", "optimizer.warmup_lr=0.0", "optimizer.lr=0.5"]
    run = train(load_recipe(tiny, [*settings, "monitor.every_epochs=0"]), tmp_path / "runs")
    rates = [value for _, _, metric, value in rows(run) if metric == "lr"]
    assert rates[0] == 0, "a warm-up begins at its first rate"
    assert max(rates) == rates[5] == 0.5


def test_monitors_know_neither_their_queries_nor_any_other_accuracy(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ValidationMonitor(assemble(load_recipe(tiny)))
    bank, queries = set(made.bank.tolist()), set(made.queries.tolist())
    assert not bank & queries
    assert len(bank | queries) == 1438
    scores = {"acc": 0.25, "acc_many_to_one": 0.5, "nmi": 0.125}
    monkeypatch.setattr("sslkit.training.monitor.validation.cluster_scores", lambda *_: scores)
    figures = made.measure(0)
    assert (figures["acc"], figures["nmi"]) == (0.25, 0.125)


def test_the_last_epoch_is_measured_whatever_the_interval(tiny: Path, tmp_path: Path) -> None:
    run = train(load_recipe(tiny, ["train.epochs=3", "monitor.every_epochs=2"]), tmp_path / "runs")
    assert [step for step, _, metric, _ in rows(run) if metric == "monitor/acc"] == [10, 15]


def test_neighbours_are_measured_before_the_first_step(tiny: Path, tmp_path: Path) -> None:
    recipe = load_recipe(tiny)
    floor = ValidationMonitor(assemble(recipe)).measure(None)["knn"]
    told = Notes()
    run = train(recipe, tmp_path, told)
    measured = [(step, value) for step, _, metric, value in rows(run) if metric == "monitor/knn"]
    assert measured[0] == (0, pytest.approx(floor))
    assert len(measured) == 3
    assert told.notes[-1] == f"before the first step: knn {floor:.3f}"

    unmeasured = train(load_recipe(tiny, ["monitor.every_epochs=0"]), tmp_path)
    assert not [metric for _, _, metric, _ in rows(unmeasured) if metric == "monitor/knn"]
