"""Evaluate the runs of a comparison once, and read their accuracies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Any

from sslkit.evaluation.build_evaluators import build_evaluators
from sslkit.evaluation.evaluate import Baseline, evaluate
from sslkit.reporting.evaluation_tables import latest_results
from sslkit.runs.evaluation_files import read_evaluations
from sslkit.runs.evaluation_result import RANDOM_WEIGHTS, EvaluatorResult
from sslkit.runs.run import Run

EVALUATORS = ("linear", "knn", "cluster")
"""Evaluators of a comparison, all of the core."""

ACCURACIES = {
    "linear_top1": "linear probe",
    "knn_top1": "kNN",
    "kmeans_acc": "k-means on features",
    "classes_acc": "discovered classes",
}
"""Title of each accuracy."""

BASELINES: tuple[Baseline, ...] = ("random",)

BY_CLASSIFIER = "argmax of logits"
"""Value of ``assigned_by`` in the protocol of the evaluator ``cluster`` if the run has a classifier."""


@dataclass(frozen=True)
class Accuracies:
    """Accuracies of a run on the test images, in [0, 1].

    Attributes:
        trained: accuracies of the trained network, keyed as ``ACCURACIES``. ``classes_acc`` exists only for runs with
            classifiers.
        random_weights: the same accuracies of the untrained network. ``kmeans_acc`` is missing for runs with
            classifiers, because only the classifier of the untrained network is evaluated.
        kmeans_pixels: accuracy of k-means on pixels, or None if it was not measured.
        classes: number of discovered classes; 0 without a classifier.
        protocols: protocol of each evaluator.
    """

    trained: dict[str, float]
    random_weights: dict[str, float]
    kmeans_pixels: float | None
    classes: int
    protocols: dict[str, dict[str, Any]] = field(default_factory=dict)


def evaluate_once(run: Run, data: str, device: str, say: Callable[[str], None]) -> Accuracies:
    """Return the accuracies of a finished run. Evaluators whose results are saved already do not run again.

    Args:
        run: the run.
        data: name of the run's data set.
        device: device on which features are computed.
        say: receives a message before an evaluation.

    Raises:
        SslkitError: the run cannot be evaluated.
    """
    saved = _saved(run, data)
    missing = {f"sslkit:{name}": dict[str, Any]() for name in EVALUATORS if name not in saved}
    if missing:
        say(f"evaluating {run.name}")
        evaluate(run, build_evaluators(missing), device, baselines=BASELINES)
        saved = _saved(run, data)
    return read_accuracies(saved)


def _saved(run: Run, data: str) -> dict[str, EvaluatorResult]:
    """Return each evaluator's latest saved result on the run's own data, if it includes the random-weights baseline."""
    results = latest_results(read_evaluations(run)[0], data)
    return {
        name: result
        for name, (_, result) in results.items()
        if name in EVALUATORS and RANDOM_WEIGHTS in result.baselines and "data_options" not in result.protocol
    }


def read_accuracies(results: Mapping[str, EvaluatorResult]) -> Accuracies:
    """Return the accuracies in the results of ``EVALUATORS``."""
    trained: dict[str, float] = {}
    random: dict[str, float] = {}
    for evaluator, name in (("linear", "linear_top1"), ("knn", "knn_top1")):
        result = results[evaluator]
        trained[name] = result.metrics["top1"]
        random[name] = result.baselines[RANDOM_WEIGHTS].metrics["top1"]
    cluster = results["cluster"]
    accuracies = {name: baseline.metrics["acc"] for name, baseline in cluster.baselines.items()}
    has_classes = cluster.protocol["assigned_by"] == BY_CLASSIFIER
    own = "classes_acc" if has_classes else "kmeans_acc"
    trained |= {"kmeans_acc": accuracies["kmeans_features"]} if has_classes else {}
    trained[own], random[own] = cluster.metrics["acc"], accuracies[RANDOM_WEIGHTS]
    protocols = {name: result.protocol for name, result in results.items()}
    classes = cluster.protocol["clusters"] if has_classes else 0
    return Accuracies(trained, random, accuracies.get("kmeans_pixels"), classes, protocols)


@dataclass(frozen=True)
class Summary:
    """Mean of an accuracy over seeds.

    Attributes:
        mean: mean, in [0, 1].
        std: standard deviation between seeds, or None with one seed.
        n: number of seeds.
    """

    mean: float
    std: float | None
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.3f}" if self.std is None else f"{self.mean:.3f} ± {self.std:.3f}"


def summarise(runs: list[dict[str, float]]) -> dict[str, Summary]:
    """Return the mean of each accuracy over the runs of a method, in the order of ``ACCURACIES``."""
    summaries = {}
    for name in ACCURACIES:
        values = [run[name] for run in runs if name in run]
        if values:
            summaries[name] = Summary(mean(values), stdev(values) if len(values) > 1 else None, len(values))
    return summaries
