"""Sentences about which method of a comparison is best, and how certain that is."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from sslkit.method_comparison.accuracies import Summary
from sslkit.method_comparison.result import MethodResult

METRIC = "linear_top1"
"""Accuracy that orders the methods."""

LIMIT = 1.96
"""Difference in standard errors above which two methods differ: the two-sided 95 % level of a normal distribution."""


def verdict(methods: Sequence[MethodResult], test_images: int) -> tuple[str, ...]:
    """Return sentences about the best method, by linear probe on the test images.

    Args:
        methods: results of the methods, the best first.
        test_images: number of test images.
    """
    ranked = [(method, method.accuracies[METRIC]) for method in methods if METRIC in method.accuracies]
    if not ranked:
        return ("no method has a result",)
    (best, top), *others = ranked
    sentences = [f"highest linear probe: {best.name}, {top} (random weights {best.random_weights[METRIC]})"]
    close = [f"{method.name} ({own})" for method, own in others if not differs(top, own, test_images)]
    if close:
        verb = "is" if len(close) == 1 else "are"
        sentences.append(f"{', '.join(close)} {verb} not significantly worse (95 % level)")
    useless = [method.name for method, own in ranked if own.mean <= method.random_weights[METRIC].mean]
    if useless:
        sentences.append(f"not better than random weights: {', '.join(useless)}")
    if top.n == 1:
        sentences.append(
            "one seed: the variation between training runs is unknown; measure it with more seeds, such as "
            "--seeds 0,1,2"
        )
    return tuple(sentences)


def differs(better: Summary, worse: Summary, test_images: int) -> bool:
    """Return whether the difference of two mean accuracies is larger than ``LIMIT`` standard errors.

    The standard error has two parts: sampling of the test images (binomial) and, with more than one seed, variation
    between seeds. The first part is computed as if the methods had different test images, so it is too large rather
    than too small.
    """
    variance = sum(_variance(summary, test_images) for summary in (better, worse))
    return better.mean - worse.mean > LIMIT * sqrt(variance)


def _variance(summary: Summary, test_images: int) -> float:
    between_seeds = summary.std**2 / summary.n if summary.std is not None else 0.0
    return summary.mean * (1 - summary.mean) / test_images + between_seeds
