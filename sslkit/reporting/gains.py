"""Gains: how much better a trained network is than the weights that its training started from."""

from __future__ import annotations

from collections.abc import Mapping

from sslkit.reporting.evaluation_tables import metric_groups
from sslkit.runs.evaluation_result import PRETRAINED_WEIGHTS, EvaluatorResult

METRICS = ("acc", "nmi", "top1", "miou")
"""Metrics whose gain is reported; a higher value is better."""


def gain(result: EvaluatorResult, metric: str) -> float | None:
    """Return how much training changed a metric, or None if the metric is missing before or after training."""
    baseline = result.baselines.get(PRETRAINED_WEIGHTS)
    values = result.metrics.get(metric), baseline and baseline.metrics.get(metric)
    return values[0] - values[1] if isinstance(values[0], float) and isinstance(values[1], float) else None


def gain_sentences(results: Mapping[str, EvaluatorResult]) -> list[str]:
    """Return sentences that compare the metrics of a trained network with those of the weights it started from.

    Args:
        results: results, keyed by the title of the evaluator.

    Returns:
        A sentence for each of ``METRICS`` that was measured both before and after training, with the value after
        training and the gain.
    """
    sentences = []
    for title, result in results.items():
        if PRETRAINED_WEIGHTS not in result.baselines:
            continue
        before = metric_groups(title, result.baselines[PRETRAINED_WEIGHTS].metrics)
        known = {label: metrics for label, _, metrics in before}
        for label, _, metrics in metric_groups(title, result.metrics):
            for metric in METRICS:
                value, old = metrics.get(metric), known.get(label, {}).get(metric)
                if isinstance(value, float) and isinstance(old, float):
                    difference = value - old
                    word = "better" if difference > 0 else "worse"
                    change = f"{abs(difference):.3f} {word} than at the start"
                    if f"{difference:.3f}" in ("0.000", "-0.000"):
                        change = "the same as at the start"
                    sentences.append(f"{label} {metric}: {value:.3f}, {change}")
    return sentences
