"""Verdict on a run in words: which baselines it beats, by how much, and how uncertain the difference is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sslkit.evaluation.clustering_metrics import cluster_scores
from sslkit.reporting.encoded_split import EncodedSplit
from sslkit.reporting.evaluation_tables import baseline_title
from sslkit.runs.evaluation_result import PRETRAINED_WEIGHTS, RANDOM_WEIGHTS, EvaluatorResult

BARELY = 0.05
"""Smaller gains in accuracy are called small."""

Z_95 = 1.96
"""Quantile of the normal distribution for 95 % confidence intervals."""

TITLES = {
    "kmeans_features": "k-means on the same features",
    "kmeans_pixels": "k-means on pixels",
    RANDOM_WEIGHTS: "random weights",
    PRETRAINED_WEIGHTS: "the weights that training started from",
}
"""Baselines in words."""

SUBJECTS = (
    ("cluster", "acc", "The discovered classes"),
    ("linear", "top1", "The features, with a linear probe,"),
    ("linear-sgd", "top1", "The features, with a linear probe trained by SGD,"),
    ("knn", "top1", "The features, with kNN,"),
    ("finetune", "top1", "The fine-tuned network"),
)
"""Evaluator, accuracy, and subject of a sentence. The first evaluator with a baseline gives the first sentence."""


def margin(first: float, second: float, count: int) -> float:
    """Return half the width of the 95 % confidence interval of a difference of two accuracies on ``count`` images.

    The interval is that of Agresti & Caffo (The American Statistician, 2000) for independent samples. Both accuracies
    are measured on the same images, so the true interval is usually narrower.

    Args:
        first: accuracy in [0, 1].
        second: accuracy in [0, 1].
        count: number of images, at least 1.
    """
    shares = [(accuracy * count + 1) / (count + 2) for accuracy in (first, second)]
    return Z_95 * math.sqrt(sum(share * (1 - share) / (count + 2) for share in shares))


@dataclass(frozen=True)
class _Comparison:
    """Accuracy of a run compared with that of a baseline.

    Attributes:
        baseline: name of the baseline.
        value: accuracy of the run.
        other: accuracy of the baseline.
        half: half the width of the confidence interval of the difference, or None if the number of images is unknown.
    """

    baseline: str
    value: float
    other: float
    half: float | None

    @property
    def judgement(self) -> str:
        gain, half = self.value - self.other, self.half or 0.0
        if abs(gain) <= half or not gain:
            return "no better than"
        if gain < 0:
            return "worse than"
        return "barely better than" if gain < BARELY else "clearly better than"

    @property
    def numbers(self) -> str:
        gain = f"{self.value - self.other:+.3f}"
        return f"{self.other:.3f}, a difference of {gain}" + ("" if self.half is None else f" ± {self.half:.3f}")


def verdict(latest: Mapping[str, tuple[str, EvaluatorResult]], encoded: EncodedSplit | None) -> list[str]:
    """Return sentences that compare a run with its baselines, the most important sentence first.

    Args:
        latest: latest result of each evaluator, from ``latest_results``.
        encoded: the images of the report, or None if they cannot be shown.
    """
    sentences: list[str] = []
    images: list[str] = []
    for evaluator, metric, subject in SUBJECTS:
        if evaluator not in latest:
            continue
        _, result = latest[evaluator]
        comparisons = _comparisons(result, metric)
        if not comparisons:
            continue
        strongest, *others = comparisons
        verb = "is" if subject.endswith("network") else "are"
        sentences.append(
            f"{subject} {verb} {strongest.judgement} {_title(strongest.baseline)}: accuracy {strongest.value:.3f} "
            f"instead of {strongest.numbers}."
        )
        pronoun = "It is" if verb == "is" else "They are"
        sentences += [f"{pronoun} {each.judgement} {_title(each.baseline)} ({each.numbers})." for each in others]
        images += [f"{count} {result.protocol.get('split', 'test')} images"] if (count := _images(result)) else []
    if images:
        sentences.append(
            f"± is a 95 % confidence interval for {' and '.join(dict.fromkeys(images))}. It does not include the "
            f"differences between training runs.{_spread(encoded)}"
        )
    return sentences


def _comparisons(result: EvaluatorResult, metric: str) -> list[_Comparison]:
    """Return the comparisons with all baselines, the strongest baseline first."""
    value, count = result.metrics.get(metric), _images(result)
    found = []
    for name, baseline in result.baselines.items():
        other = baseline.metrics.get(metric)
        if isinstance(value, float) and isinstance(other, float):
            found.append(_Comparison(name, value, other, margin(value, other, count) if count else None))
    return sorted(found, key=lambda each: -each.other)


def _images(result: EvaluatorResult) -> int:
    count = result.protocol.get("images")
    return count if isinstance(count, int) and count > 0 else 0


def _title(baseline: str) -> str:
    return TITLES.get(baseline, baseline_title(baseline))


def _spread(encoded: EncodedSplit | None) -> str:
    """Return a sentence with the accuracies of the run's other classifiers, which evaluation does not use.

    The sentence is empty if there are no labels or no other classifiers.
    """
    if encoded is None or encoded.split.labels is None or not encoded.other_classifiers or encoded.discovered is None:
        return ""
    count, labels = encoded.discovered.count, encoded.split.labels
    scores = [
        cluster_scores(each, labels, count, len(encoded.class_names))["acc"] for each in encoded.other_classifiers
    ]
    if len(scores) == 1:
        return f" The run's other classifier has an accuracy of {scores[0]:.3f}."
    return f" The run's {len(scores)} other classifiers have accuracies from {min(scores):.3f} to {max(scores):.3f}."
