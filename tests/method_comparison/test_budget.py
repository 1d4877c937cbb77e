"""Length of the training runs of a comparison."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sslkit.errors import InputError
from sslkit.method_comparison.budget import (
    Budget,
    divide_into_epochs,
    mean_step_seconds,
    relative_durations,
    steps_in_budget,
)
from sslkit.recipe.load import load_recipe


def test_steps_of_each_budget() -> None:
    for budget, step_seconds, steps in (
        (Budget("views", 5000), {}, 4),  # 256 images with 4 views
        (Budget("epochs", 3), {}, 30),
        (Budget("minutes", 2), {0: 0.5}, 240),
        (Budget("minutes", 2), {0: 1.0, "75%": 5.0}, 60),  # on average 2 s
    ):
        assert steps_in_budget(budget, 10, 256, 4, step_seconds) == steps
    assert mean_step_seconds({"75%": 5.0, 0: 1.0, "50%": 3.0}) == 0.5 * 1 + 0.25 * 3 + 0.25 * 5
    with pytest.raises(InputError, match=r"^0\.1 minutes are less than one step, which takes 12 seconds: use a larger"):
        steps_in_budget(Budget("minutes", 0.1), 10, 256, 2, {0: 12.0})
    with pytest.raises(InputError, match="which takes 512 views"):
        steps_in_budget(Budget("views", 511), 10, 256, 2, {})


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20_000), st.integers(1, 400))
def test_epochs_of_equal_length_take_nearly_all_steps(steps: int, steps_per_pass: int) -> None:
    length = divide_into_epochs(steps, steps_per_pass)
    assert length.steps_per_epoch <= steps_per_pass
    assert length.epochs >= min(20, steps)
    assert 0.96 * steps <= length.steps <= steps


def test_durations_in_epochs_become_percentages(tiny: Path) -> None:
    recipe = load_recipe(tiny, ["train.epochs=8", "optimizer.warmup_epochs=1", 'train.checkpoint_every="1 epochs"'])
    assert relative_durations(recipe) == ['optimizer.warmup_epochs="12.5%"']
    assert relative_durations(load_recipe(tiny, ['optimizer.warmup_epochs="10%"'])) == []
    (setting,) = relative_durations(load_recipe(tiny, ["train.epochs=3", "optimizer.warmup_epochs=1"]))
    assert math.isclose(float(setting.split('"')[1].rstrip("%")), 100 / 3, rel_tol=1e-9)
