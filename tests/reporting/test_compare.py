"""Comparison of runs with each other."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluation_results import CLUSTER, create_evaluated_run, evaluation_json

from sslkit.errors import RunError
from sslkit.reporting.compare import compare, run_metrics

FEW_LABELS = {"0.01": {"top1": 0.125, "top1_std": 0.0625}}


def linear(metrics: dict[str, object], **protocol: object) -> dict[str, object]:
    return evaluation_json(linear={"metrics": metrics, "protocol": protocol or {"folds": 5, "seeds": 2}})


LINEAR = linear({"top1": 0.75, "fractions": FEW_LABELS})


def test_the_latest_metrics_of_every_evaluator_count(tiny: Path, tmp_path: Path) -> None:
    newer = evaluation_json(cluster={"metrics": {"acc": 0.625}})
    latest = run_metrics(create_evaluated_run(tiny, tmp_path, "a", CLUSTER, LINEAR, newer))
    assert latest.metrics == {
        "cluster acc": 0.625,
        "linear top1": 0.75,
        "linear 1 % top1": 0.125,
        "linear 1 % top1_std": 0.0625,
    }
    assert latest.protocols["linear"]["folds"] == 5


def test_deviations_and_named_class_metrics_of_older_evaluations_are_dropped(tiny: Path, tmp_path: Path) -> None:
    named = evaluation_json(cluster={"metrics": {"acc": 0.5, "named": {"named_acc": 0.75}}})
    one_draw = linear({"fractions": {"0.01": {"top1": 0.25}}})
    latest = run_metrics(create_evaluated_run(tiny, tmp_path, "a", named, LINEAR, CLUSTER, one_draw))
    assert latest.metrics == {
        "cluster acc": 0.5,
        "cluster nmi": 0.25,
        "linear top1": 0.75,
        "linear 1 % top1": 0.25,
    }


def test_differences_between_protocols_are_listed(tiny: Path, tmp_path: Path) -> None:
    first = create_evaluated_run(tiny, tmp_path, "a", LINEAR)
    fewer_folds = linear({"top1": 0.75, "fractions": FEW_LABELS}, folds=3, seeds=2)
    second = create_evaluated_run(tiny, tmp_path, "b", fewer_folds)
    assert compare([first, second])["differences"] == [
        f"linear, linear 1 %: folds = 3 in {second.name}, but 5 in {first.name}"
    ]


def test_differences_are_settings_as_in_a_recipe_and_no_python_values(tmp_path: Path, tiny: Path) -> None:
    first = create_evaluated_run(
        tiny, tmp_path, "a", linear({"top1": 0.5}, probe="one layer", steps=None, used={"1": 3, "0.5": 2})
    )
    options = {"size": 16, "nested": {"names": ["x", "ü"], "on": False}}
    second = create_evaluated_run(
        tiny,
        tmp_path,
        "b",
        linear({"top1": 0.5}, probe="two", steps=[1, 2.5], options=options, used={}, same_labels_as={"1": "0.99"}),
    )
    assert compare([first, second])["differences"] == [
        f"linear: {line} in {first.name}"
        for line in (
            f'options.nested.names = ["x", "ü"] in {second.name}, but not set',
            f"options.nested.on = false in {second.name}, but not set",
            f"options.size = 16 in {second.name}, but not set",
            f'probe = "two" in {second.name}, but "one layer"',
            f"steps = [1, 2.5] in {second.name}, but not set",
            f"used is not set in {second.name}, but 3",
        )
    ]


def test_each_metric_has_the_protocol_of_its_own_evaluation(tiny: Path, tmp_path: Path) -> None:
    first = linear({"fractions": FEW_LABELS}, folds=3, trainings={"0.01": 2})
    second = linear({"top1": 0.875}, folds=5, trainings={"1": 1})
    latest = run_metrics(create_evaluated_run(tiny, tmp_path, "a", first, second))
    assert latest.metrics["linear 1 % top1"] == 0.125
    assert latest.protocols == {"linear 1 %": {"folds": 3, "trainings": 2}, "linear": {"folds": 5, "trainings": 1}}


def test_metrics_on_other_data_are_named_by_the_data(tiny: Path, tmp_path: Path) -> None:
    evaluations = (
        linear({"top1": 0.5}, data="digits"),
        linear({"top1": 0.25}, data="digits", data_options={"size": 16}),
        linear({"top1": 0.125}, data="svhn", data_options={}),
        linear({"top1": 0.0625}, data="cifar10"),
        evaluation_json(segment={"metrics": {"miou": 0.75}, "protocol": {"data": "digit-scenes: on textures"}}),
        evaluation_json(segment={"metrics": {"miou": 0.875}, "protocol": {"data": "the run's own"}}),
    )
    assert run_metrics(create_evaluated_run(tiny, tmp_path, "a", *evaluations)).metrics == {
        "linear top1": 0.5,
        "linear on digits (size=16) top1": 0.25,
        "linear on svhn top1": 0.125,
        "linear on cifar10 top1": 0.0625,
        "segment on digit-scenes miou": 0.75,
        "segment miou": 0.875,
    }


def test_a_run_without_evaluations_is_refused_with_the_command(tiny: Path, tmp_path: Path) -> None:
    run = create_evaluated_run(tiny, tmp_path, "a")
    with pytest.raises(RunError, match=r"has not been evaluated.*`sslkit eval "):
        compare([run])
