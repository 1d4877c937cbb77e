"""Aggregation of metrics over seeds."""

from __future__ import annotations

import pytest

from sslkit.evaluation.label_fractions import aggregate_seeds


def test_metrics_of_a_fraction_are_averaged_and_those_of_all_labels_unchanged() -> None:
    by_fraction = {0.5: [{"top1": 0.25}, {"top1": 0.75}], 1.0: [{"top1": 0.875}]}
    deviation = pytest.approx(0.5 / 2**0.5)
    assert aggregate_seeds(by_fraction) == {"top1": 0.875, "fractions": {"0.5": {"top1": 0.5, "top1_std": deviation}}}
