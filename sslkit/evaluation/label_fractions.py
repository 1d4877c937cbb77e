"""Accuracies, and how those of several draws of labels are summed up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Annotated, Any

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from sslkit.contracts import options

Fraction = Annotated[float, Field(gt=0, le=1)]
"""A part of the training labels."""


class LabelFractionOptions(options.Options):
    """Options of an evaluator that can do with a fraction of the labels."""

    fractions: tuple[Fraction, ...] = Field((1.0,), min_length=1)
    """Fractions of the training labels: class-balanced, each one within the larger ones."""
    seeds: int = Field(1, ge=1)
    """LabelFractionOptions of each fraction below 1, of which mean and standard deviation are given."""

    @field_validator("seeds")
    @classmethod
    def _something_is_drawn(cls, value: int, info: ValidationInfo) -> int:
        fractions = info.data.get("fractions", ())
        if value > 1 and fractions and min(fractions) == 1:
            raise ValueError(
                "draws are of fractions below 1, and fractions has none (0.1 say); on all labels there is one training"
            )
        return value

    def of(self, fraction: float, seed: int) -> range:
        """The seeds of a fraction's draws, from the run's own on: of all labels there is one."""
        return range(seed, seed + (self.seeds if fraction < 1 else 1))

    def trainings(self) -> dict[str, int]:
        """Of how many trainings each fraction's metrics are the mean."""
        return {f"{fraction:g}": len(self.of(fraction, 0)) for fraction in self.fractions}


def topk_accuracy(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Fractions of images whose class is the likeliest, and, of more than five classes, among the likeliest five.

    Args:
        logits: ``[N, K]``; a class with minus infinity is impossible, and never among the likeliest.
        labels: ``[N]`` int64.
    """
    likeliest = logits.topk(min(5, logits.shape[1]), dim=1)
    ranked = (likeliest.indices.cpu() == labels[:, None]) & (likeliest.values > -torch.inf).cpu()
    metrics = {"top1": float(ranked[:, 0].double().mean())}
    if logits.shape[1] > 5:
        metrics["top5"] = float(ranked.any(1).double().mean())
    return metrics


def aggregate_seeds(by_fraction: Mapping[float, Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """Figures with all labels as they are, and those of smaller fractions below ``fractions``.

    There, each figure is the mean over the draws, and ``<figure>_std`` their sample standard deviation where there
    are several.
    """
    metrics: dict[str, Any] = {}
    parts: dict[str, dict[str, float]] = {}
    for fraction, draws in by_fraction.items():
        if fraction == 1:
            metrics |= draws[0]
            continue
        summed: dict[str, float] = {}
        for name in draws[0]:
            values = [draw[name] for draw in draws]
            summed[name] = mean(values)
            if len(values) > 1:
                summed[f"{name}_std"] = stdev(values)
        parts[f"{fraction:g}"] = summed
    return metrics | ({"fractions": parts} if parts else {})
