"""Data sets without class names, or with labels in only some splits: monitor, evaluation, report, class names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from equal_runs import metric_rows
from evaluation_subjects import Squares, squares

import sslkit
from sslkit.cli.common.summary import print_finished_run
from sslkit.components.catalog import registered_components
from sslkit.data.splits import load_split
from sslkit.errors import DataError
from sslkit.evaluation.build_evaluators import build_evaluators
from sslkit.evaluation.evaluate import evaluate

Train = Callable[..., sslkit.Run]


@pytest.fixture
def train(tiny: Path, tmp_path: Path) -> Iterator[Train]:
    """Return a function that trains a few steps on images of squares with the given options."""
    sslkit.register("squares", Squares)

    def train(**options: object) -> sslkit.Run:
        settings = ["data={use='squares'}", "train.batch_size=16", "head.classifiers=[5]"]
        settings += [f"data.{name}={json.dumps(value)}" for name, value in options.items()]
        return sslkit.train(tiny, settings=settings, runs=tmp_path / "runs")

    yield train
    registered_components.pop(("sslkit.datasets", "squares"))


def monitored(run: sslkit.Run) -> set[str]:
    """Return the names of the validation metrics of a run."""
    return {row.metric.removeprefix("monitor/") for row in metric_rows(run)} & {"acc", "nmi", "knn", "classes_used"}


def test_classes_without_names_are_measured_evaluated_reported_and_named(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = ["train", "validation", "test"]
    run = train(made=splits, labelled=splits, **{"classes.train": 3})
    assert monitored(run) == {"acc", "nmi", "knn", "classes_used"}
    print_finished_run(run)
    assert "--cluster" in capsys.readouterr().out, "the next step is the evaluation, as the data have labels"
    # A class that occurs only in validation images also counts.
    result = run.evaluate({"cluster": {}, "linear": {}, "knn": {}, "linear-sgd": {"epochs": 1}})
    assert result.evaluators["linear"].protocol["classes"] == 4
    assert all(0 <= result.evaluators[name].metrics["top1"] <= 1 for name in ("linear", "knn", "linear-sgd"))
    page = run.report().read_text()
    assert "Confusion matrix after matching" in page
    assert "label 3" in page
    assert run.label({0: "corner"}) == ("corner", "", "", "", "")
    assert "corner" in run.report().read_text()
    named = run.evaluate("cluster").evaluators["cluster"]
    assert "named" in named.metrics
    assert "named_acc" not in named.metrics["named"], "the classes have no names to compare with"


def test_only_validation_images_have_labels(train: Train) -> None:
    run = train(made=["train", "validation", "test"], labelled=["validation"])
    assert monitored(run) == {"acc", "nmi", "classes_used"}
    with pytest.raises(DataError, match="cluster evaluation needs labels, but the test images of 'squares' have none"):
        run.evaluate("cluster")
    knn, data = build_evaluators({"knn": {}}), squares(("train", "validation", "test"), ("validation", "test"))
    with pytest.raises(DataError, match="this evaluation needs labels, but the train images have none"):
        evaluate(run, knn, other=("squares", data))
    page = run.report().read_text()
    assert "Confusion matrix" not in page
    assert run.label({}) == ("",) * 5


def test_without_test_images_the_next_step_is_no_evaluation(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    print_finished_run(train(made=["train"], labelled=["train"]))
    printed = capsys.readouterr().out
    assert "sslkit explore " in printed
    assert "sslkit eval" not in printed


def test_labels_that_are_no_class_indices_are_refused() -> None:
    with pytest.raises(DataError, match=r"the labels of the split 'train' are -1 to 2.*labels must be 0 or more"):
        load_split(Squares(Squares.Options(first=-1)), "train")

    class Fractions(Squares):
        def load(self, split: str) -> sslkit.Split:
            loaded = super().load(split)
            return replace(loaded, labels=loaded.labels.float()[:, None])

    with pytest.raises(DataError, match=r"'train' are torch.float32 \[48, 1\].*they must be a tensor int64 \[N\]"):
        load_split(Fractions(Squares.Options()), "train")
