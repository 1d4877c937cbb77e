"""Nested, class-balanced parts of a labelled set, for evaluation with few labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sslkit.data.seeds import seeded_generator


def nested_fractions(labels: Tensor, fractions: Sequence[float], seed: int) -> dict[float, Tensor]:
    """Places of the images whose labels each fraction may use.

    Every class gives the same fraction of its images, rounded, and at least one.  What a smaller fraction has, every
    larger one of the same seed has too.

    Args:
        labels: ``[N]`` int64.
        fractions: each above 0 and at most 1.
        seed: which images.

    Returns:
        For each fraction sorted int64 places.
    """
    shuffled = torch.randperm(len(labels), generator=seeded_generator(seed, "fractions"))
    members = [shuffled[labels[shuffled] == label] for label in torch.unique(labels)]
    return {
        fraction: torch.cat([own[: max(1, round(fraction * len(own)))] for own in members]).sort().values
        for fraction in fractions
    }


def folds(labels: Tensor, count: int, seed: int) -> list[Tensor]:
    """Cut labelled images into folds for cross-validation, every class spread evenly over them.

    Args:
        labels: ``[N]`` int64.
        count: folds, at most; fewer where the smallest class has fewer images.
        seed: which image goes where.

    Returns:
        Sorted int64 places of each fold; none where a class has a single image, as no fold could be left out.
    """
    count = min(count, int(torch.unique(labels, return_counts=True)[1].min()))
    if count < 2:
        return []
    shuffled = torch.randperm(len(labels), generator=seeded_generator(seed, "folds"))
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    return [by_class[start::count].sort().values for start in range(count)]
