"""Evaluators by name."""

from __future__ import annotations

import pytest

from sslkit.errors import InputError
from sslkit.evaluation.build_evaluators import build_evaluators
from sslkit.evaluation.evaluators.linear import Linear


def test_options_of_one_evaluator_are_merged_and_two_of_one_name_are_refused(install) -> None:
    (only,) = build_evaluators({"sslkit:linear": {"fractions": [0.5]}, "linear": {"seeds": 2}}).items()
    assert only[0] == "linear"
    assert only[1].options == Linear.Options(fractions=(0.5,), seeds=2)
    install("other", "[sslkit.evaluators]\nlinear = other:Linear\n", other="")
    with pytest.raises(InputError, match="two evaluators are called 'linear'"):
        build_evaluators({"sslkit:linear": {}, "other:linear": {}})
