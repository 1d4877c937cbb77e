"""Estimated training time, with a simulated clock."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from shipped_recipes import RECIPES

from sslkit.bench import training_time
from sslkit.bench.training_time import TrainingTime, measure_training_time
from sslkit.recipe.load import load_recipe
from sslkit.training.learner import Learner
from sslkit.training.monitor.collapse_metrics import CollapseMetrics
from sslkit.training.monitor.validation import ValidationMonitor
from sslkit_selfcls.loss import SelfClassifierLoss

SMALL = ["train.batch_size=256", "backbone.width=4", "data.size=8", "train.device=cpu"]


@pytest.fixture
def recipe() -> Any:
    """Return the quick-start recipe, whose second loss starts after half of the epochs."""
    return load_recipe(RECIPES / "quickstart.toml", SMALL)


def test_each_set_of_losses_and_the_metrics_are_measured(recipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(training_time, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def slow_down(owner: type, name: str, seconds: float) -> None:
        original = getattr(owner, name)

        def slowed(*args: Any, **kwargs: Any) -> Any:
            now[0] += seconds
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, slowed)

    slow_down(Learner, "training_step", 3.0)
    slow_down(SelfClassifierLoss, "forward", 0.5)
    slow_down(CollapseMetrics, "measure", 2.0)
    slow_down(ValidationMonitor, "measure", 7.0)
    measured = measure_training_time(recipe)
    assert measured.step_seconds == pytest.approx({0: 3.5, "50%": 4.0})
    assert (measured.epoch_seconds, measured.validation_seconds, measured.steps_per_epoch) == (2.0, 7.0, 5)
    assert measured.start_seconds == 0.0


def test_the_time_of_a_training_counts_steps_epochs_and_validations(recipe: Any) -> None:
    times = TrainingTime(recipe, 10, {0: 1.0, "50%": 3.0}, 5.0, 7.0, 20.0)
    # 50 epochs, 25 with each set of losses; validation before training and after every fifth epoch
    assert times.seconds(50) == 20 + 10 * (25 * 1 + 25 * 3) + 50 * 5 + 11 * 7
    assert times.seconds(1) == 20 + 10 * 3 + 5 + 2 * 7
    assert times.most_epochs(times.seconds(50), 400) == 50
    assert times.most_epochs(times.seconds(50) - 1, 400) == 48, "49 epochs are validated after each fourth"
    assert (times.most_epochs(1e9, 400), times.most_epochs(0, 400)) == (400, 1)


def test_unmeasured_recipes_have_no_validations(tiny: Path) -> None:
    times = TrainingTime(load_recipe(tiny, ["monitor.every_epochs=0"]), 5, {0: 1.0}, 0.0, 7.0, 0.0)
    assert times.seconds(3) == 15
