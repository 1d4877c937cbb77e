"""The verdict at the top of a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_results import evaluation_result

from sslkit.contracts.evaluator import CorrectedClasses
from sslkit.evaluation.discovered_classes import DiscoveredClasses
from sslkit.reporting.encoded_split import EncodedSplit
from sslkit.reporting.sections.opening import opening
from sslkit.reporting.sections.verdict import margin, verdict
from sslkit.runs.evaluation_result import EvaluatorResult
from sslkit.runs.run import Run

Encode = Callable[..., EncodedSplit]


def latest(**parts: Any) -> dict[str, tuple[str, EvaluatorResult]]:
    results = evaluation_result(**parts).evaluators
    return {name: (name, result) for name, result in results.items()}


def cluster(acc: float, images: int | None = 400, **baselines: float) -> dict[str, tuple[str, EvaluatorResult]]:
    protocol = {"split": "test"} | ({} if images is None else {"images": images})
    others = {name: {"metrics": {"acc": value}} for name, value in baselines.items()}
    return latest(cluster={"metrics": {"acc": acc}, "protocol": protocol, "baselines": others})


def test_the_margin_is_that_of_agresti_and_caffo() -> None:
    # 56 and 48 of 80 images are correct: with one success and one failure added, 57/82 and 49/82.
    shares = 57 / 82, 49 / 82
    expected = 1.96 * sum(share * (1 - share) / 82 for share in shares) ** 0.5
    assert margin(56 / 80, 48 / 80, 80) == pytest.approx(expected)
    assert 0 < margin(1.0, 1.0, 10) < 0.3, "not zero for perfect accuracies"


@pytest.mark.parametrize(
    ("acc", "images", "words"),
    [
        (0.75, 400, "clearly better than"),
        (0.53, 10_000, "barely better than"),
        (0.53, 400, "no better than"),
        (0.5, 400, "no better than"),
        (0.25, 400, "worse than"),
        (0.53, None, "barely better than"),
    ],
)
def test_words_depend_on_gain_and_uncertainty(acc: float, images: int | None, words: str) -> None:
    sentences = verdict(cluster(acc, images, kmeans_pixels=0.5), None)
    assert sentences[0].startswith(f"The discovered classes are {words} k-means on pixels: accuracy {acc:.3f} instead")
    assert ("±" in sentences[0]) == (images is not None)
    if images:
        assert f"± is a 95 % confidence interval for {images} test images" in sentences[-1]


def test_the_strongest_baseline_comes_first_and_all_are_named(encoded_split: Encode) -> None:
    results = cluster(0.75, kmeans_pixels=0.25, kmeans_features=0.5)
    results |= latest(knn={"metrics": {"top1": 0.9}, "baselines": {"random_weights": {"metrics": {"top1": 0.5}}}})
    labels = torch.arange(8) % 2
    discovered = DiscoveredClasses(labels, torch.ones(8), 2, labels, 2)
    encoded = encoded_split(torch.zeros(8, 2), labels, discovered=discovered)
    encoded = replace(encoded, other_classifiers=(labels, torch.zeros(8, dtype=torch.int64)))
    first, second, third, last = verdict(results, encoded)
    assert "clearly better than k-means on the same features: accuracy 0.750 instead of 0.500, a difference of" in first
    assert "They are clearly better than k-means on pixels (0.250, a difference of +0.500 ± " in second
    assert third.startswith("The features, with kNN, are clearly better than random weights: accuracy 0.900")
    assert "The run's 2 other classifiers have accuracies from 0.500 to 1.000." in last


def test_without_an_evaluation_the_report_compares_with_k_means(encoded_split: Encode, tmp_path: Path) -> None:
    labels = torch.arange(60) % 3
    features = torch.eye(3)[labels] + 0.05 * torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    discovered = DiscoveredClasses(torch.where(labels == 2, 1, labels), torch.ones(60), 3, labels, 3)
    encoded = encoded_split(features, labels, ("a", "b", "c"), discovered)
    run = Run(tmp_path)
    found = opening(run, {}, encoded, torch.eye(3).repeat(4, 1))
    assert found["verdict"][0].startswith(
        "The discovered classes are worse than k-means on the same features: accuracy"
    )
    assert "accuracy 0.667 instead of 1.000" in found["verdict"][0]
    assert "k-means fitted to 12 training images" in found["verdict"][-1]
    assert found["headlines"][0]["lines"] == ["1.000 k-means on the same features"]

    unlabelled = encoded_split(features, discovered=replace(discovered, labels=None, classes=0))
    found = opening(run, {}, unlabelled, None)
    assert found["verdict"][0].startswith("There are no labels")
    assert found["verdict"][1] == "k-means on the same features puts 67 % of the images into the same classes."
    assert found["headlines"][0]["label"] == "agreement with k-means on the same features"
    assert found["headlines"][0]["value"] == "0.667"

    assert "cannot be judged" in opening(run, {}, None, None)["verdict"][0]
    no_baseline = latest(knn={"metrics": {"top1": 0.5}})
    assert "without a baseline" in opening(run, no_baseline, encoded_split(features), None)["verdict"][0]


def test_corrections_after_the_evaluation_are_mentioned(encoded_split: Encode, tmp_path: Path) -> None:
    labels = torch.arange(4) % 2
    encoded = encoded_split(
        torch.zeros(4, 2), labels, discovered=DiscoveredClasses(labels, torch.ones(4), 2, labels, 2)
    )
    corrected = torch.tensor([True, False, False, False])
    encoded = replace(encoded, corrections=CorrectedClasses(labels, torch.ones(4), corrected, {}, 3))
    results = cluster(0.5, kmeans_pixels=0.5)
    assert "corrections have changed" in opening(Run(tmp_path), results, encoded, None)["verdict"][-1]
    results["cluster"][1].protocol["corrections"] = {"images": 3}
    assert "corrections have changed" not in opening(Run(tmp_path), results, encoded, None)["verdict"][-1]
