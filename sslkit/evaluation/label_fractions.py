"""Evaluate with a fraction of the labels, and average the metrics over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from sslkit.contracts import options

Fraction = Annotated[float, Field(gt=0, le=1)]
"""Type of an option: fraction of the training labels, in (0, 1]."""


class LabelFractionOptions(options.Options):
    """Options of an evaluator that can train on a fraction of the labels."""

    fractions: tuple[Fraction, ...] = Field((1.0,), min_length=1)
    """Fractions of the training labels. Subsets are class-balanced, with at least one image of each class. Larger
    subsets contain smaller subsets. The protocol lists fractions whose subsets are equal."""
    seeds: int = Field(1, ge=1)
    """Number of random subsets for each fraction below 1. Results are the mean and standard deviation over subsets."""

    @field_validator("seeds")
    @classmethod
    def _several_seeds_need_a_fraction(cls, value: int, info: ValidationInfo) -> int:
        fractions = info.data.get("fractions", ())
        if value > 1 and fractions and min(fractions) == 1:
            raise ValueError(
                "several seeds need a fraction below 1: add one to fractions, such as 0.1, or set seeds to 1"
            )
        return value

    def seeds_of(self, fraction: float, first: int) -> range:
        """Return the seeds of the random subsets with this fraction of the labels: consecutive numbers from ``first``.

        The option ``seeds`` sets the number of subsets. Fraction 1 has a single subset, and therefore a single seed.
        """
        return range(first, first + (self.seeds if fraction < 1 else 1))

    def trainings(self) -> dict[str, int]:
        """Return, for each fraction, the number of training runs over which metrics are averaged."""
        return {f"{fraction:g}": len(self.seeds_of(fraction, 0)) for fraction in self.fractions}


def same_labels(labels_used: Mapping[str, int]) -> dict[str, dict[str, str]]:
    """Return the protocol entry ``same_labels_as``, or an empty mapping if all fractions use different labels.

    With few images, different fractions can have the same subset, because sizes are rounded and each class keeps at
    least one image. The subsets of one seed are nested, so two subsets of equal size contain the same images.

    Args:
        labels_used: mapping from fraction to number of labels.

    Returns:
        Mapping with the key ``same_labels_as``, whose value maps each fraction to the other fractions with the same
        labels, or to ``none``.
    """
    same = {
        fraction: [other for other, used in labels_used.items() if used == own and other != fraction]
        for fraction, own in labels_used.items()
    }
    if not any(same.values()):
        return {}
    return {"same_labels_as": {fraction: ", ".join(others) or "none" for fraction, others in same.items()}}


def aggregate_seeds(by_fraction: Mapping[float, Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """Average the metrics of each fraction below 1 over its seeds.

    Args:
        by_fraction: mapping from fraction to a list with the metrics of each seed.

    Returns:
        The metrics of fraction 1, which has a single seed. The key ``fractions`` has the metrics of smaller fractions:
        the mean over seeds and, with more than one seed, the sample standard deviation as ``<metric>_std``.
    """
    metrics: dict[str, Any] = {}
    smaller: dict[str, dict[str, float]] = {}
    for fraction, of_seeds in by_fraction.items():
        if fraction == 1:
            metrics |= of_seeds[0]
            continue
        averaged: dict[str, float] = {}
        for name in of_seeds[0]:
            values = [of_seed[name] for of_seed in of_seeds]
            averaged[name] = mean(values)
            if len(values) > 1:
                averaged[f"{name}_std"] = stdev(values)
        smaller[f"{fraction:g}"] = averaged
    return metrics | ({"fractions": smaller} if smaller else {})
