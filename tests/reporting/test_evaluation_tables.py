"""Tables of evaluation metrics."""

from __future__ import annotations

from typing import Any

from evaluation_results import evaluation_result

from sslkit.reporting.evaluation_tables import full_protocol, latest_results, metrics_table
from sslkit.runs.evaluation_result import BaselineResult, EvaluationResult


def linear_result(top1: float, **protocol: Any) -> EvaluationResult:
    return evaluation_result(linear={"metrics": {"top1": top1}, "protocol": protocol})


def test_results_on_other_data_do_not_replace_those_on_the_runs_own_data() -> None:
    older, own = linear_result(0.25, data="digits"), linear_result(0.5, data="digits")
    other = linear_result(0.75, data="svhn", data_options={})
    expected = {
        "linear": ("linear", own.evaluators["linear"]),
        "linear on svhn": ("linear", other.evaluators["linear"]),
    }
    assert latest_results([older, own, other], "digits") == expected
    assert latest_results([own, other], "") == expected


def test_the_full_protocol_lists_where_a_baselines_protocol_differs() -> None:
    result = linear_result(0.5, lr=0.1, epochs=2).evaluators["linear"]
    assert full_protocol(result) == {"lr": 0.1, "epochs": 2}, "there is no baseline"
    result.baselines["random_weights"] = BaselineResult({"top1": 0.25}, {"lr": 0.5, "epochs": 2})
    assert full_protocol(result) == {"lr": 0.1, "epochs": 2, "random weights": {"lr": 0.5}}


def test_evaluators_with_equal_metric_and_baseline_names_stay_apart() -> None:
    both = {
        name: {"metrics": {"score": score}, "baselines": {"mean": {"metrics": {"score": score / 2}}}}
        for name, score in (("depth", 0.5), ("pose", 0.25))
    }
    columns, rows = metrics_table(evaluation_result(**both).evaluators)
    assert columns == ["trained", "mean"]
    assert rows == [["depth score", "0.500", "0.250"], ["pose score", "0.250", "0.125"]]


def test_a_baseline_called_trained_does_not_replace_the_run() -> None:
    own = {"metrics": {"score": 0.5}, "baselines": {"trained": {"metrics": {"score": 0.25}}}}
    columns, rows = metrics_table(evaluation_result(depth=own).evaluators)
    assert (columns, rows) == (["trained", "baseline trained"], [["depth score", "0.500", "0.250"]])
