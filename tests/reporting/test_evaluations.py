"""What is made of saved evaluations for pages and tables."""

from __future__ import annotations

from typing import Any

from sslkit.reporting.evaluations import newest, said


def saved(top1: float, **protocol: Any) -> dict[str, Any]:
    return {"linear": {"top1": top1}, "protocol": {"linear": protocol}, "baselines": {}}


def test_figures_on_other_data_do_not_replace_the_run_s_own() -> None:
    older, own, other = saved(0.25, data="digits"), saved(0.5, data="digits"), saved(0.75, data="svhn", data_options={})
    assert newest([older, own, other], "digits") == {"linear": ("linear", own), "linear on svhn": ("linear", other)}
    assert newest([own, other], "") == {"linear": ("linear", own), "linear on svhn": ("linear", other)}


def test_a_baseline_s_protocol_is_told_where_it_differs() -> None:
    result = saved(0.5, lr=0.1, epochs=2)
    assert said("linear", result) == {"lr": 0.1, "epochs": 2}, "there is no baseline"
    result["baseline_protocols"] = {"linear_random_weights": {"lr": 0.5, "epochs": 2}}
    assert said("linear", result) == {"lr": 0.1, "epochs": 2, "random weights": {"lr": 0.5}}
