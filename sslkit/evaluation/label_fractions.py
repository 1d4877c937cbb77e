"""Evaluate with a fraction of the labels, and aggregate the results over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from sslkit.contracts import options

Fraction = Annotated[float, Field(gt=0, le=1)]
"""Fraction of the training labels."""


class LabelFractionOptions(options.Options):
    """Options of an evaluator that can train on a fraction of the labels."""

    fractions: tuple[Fraction, ...] = Field((1.0,), min_length=1)
    """Fractions of the training labels. Subsets are class-balanced, with one image of each class at least, and each
    contains the smaller ones. The protocol names fractions whose subsets are equal."""
    seeds: int = Field(1, ge=1)
    """Random subsets for each fraction below 1. The results are their mean and standard deviation."""

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
        """Return the seeds of a fraction's subsets, from the run's own; a single one for all labels."""
        return range(first, first + (self.seeds if fraction < 1 else 1))

    def trainings(self) -> dict[str, int]:
        """Return the number of trainings that the metrics of each fraction are averaged over."""
        return {f"{fraction:g}": len(self.seeds_of(fraction, 0)) for fraction in self.fractions}


def same_labels(labels_used: Mapping[str, int]) -> dict[str, dict[str, str]]:
    """Return the protocol entry ``same_labels_as``; nothing if all fractions have different labels.

    With few images, rounding and the one image that each class keeps make subsets of several fractions equal. Subsets
    of one seed are nested, so those of equal size are equal.

    Args:
        labels_used: number of labels by fraction.

    Returns:
        Under ``same_labels_as``, by fraction, the other fractions with the same labels; ``none`` without any.
    """
    same = {
        fraction: [other for other, used in labels_used.items() if used == own and other != fraction]
        for fraction, own in labels_used.items()
    }
    if not any(same.values()):
        return {}
    return {"same_labels_as": {fraction: ", ".join(others) or "none" for fraction, others in same.items()}}


def aggregate_seeds(by_fraction: Mapping[float, Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """Average the metrics of each fraction over its seeds.

    Args:
        by_fraction: by fraction, the metrics of each seed.

    Returns:
        The metrics with all labels, unchanged. Those of smaller fractions are under ``fractions``: the mean over the
        seeds, and as ``<metric>_std`` the sample standard deviation of several seeds.
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
