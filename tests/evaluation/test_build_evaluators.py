"""Evaluators are built from names."""

from __future__ import annotations

import pytest

from sslkit.errors import RecipeError
from sslkit.evaluation.build_evaluators import build_evaluators
from sslkit.evaluation.evaluators.linear import Linear


def test_options_of_one_evaluator_are_merged_under_any_of_its_names() -> None:
    asked = {"sslkit:linear": {"fractions": [0.5]}, "linear": {"seeds": 2}}
    (only,) = build_evaluators(asked, ["linear.folds=3", "sslkit:linear.penalties=[1.0]"]).items()
    assert only[0] == "linear"
    assert only[1].options == Linear.Options(fractions=(0.5,), seeds=2, folds=3, penalties=(1.0,))


def test_a_setting_of_another_evaluator_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"--set liner.folds=3: liner: is not one of.*did you mean 'linear'\?"):
        build_evaluators({"linear": {}}, ["liner.folds=3"])
