"""Stratified subsets of labelled images: nested fractions for few-label evaluation, and cross-validation folds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sslkit.data.seeds import seeded_generator


def nested_subsets(labels: Tensor, fractions: Sequence[float], seed: int) -> dict[float, Tensor]:
    """Return, for each fraction, the indices of the images whose labels may be used.

    Each class contributes the same fraction of its images, rounded, but at least one image. With the same seed, the
    subset of a smaller fraction is part of the subset of a larger fraction.

    Args:
        labels: int64 ``[N]``.
        fractions: each in (0, 1].
        seed: seed for the random choice.

    Returns:
        Sorted int64 indices, keyed by fraction.
    """
    shuffled = torch.randperm(len(labels), generator=seeded_generator(seed, "fractions"))
    members = [shuffled[labels[shuffled] == label] for label in torch.unique(labels)]
    return {
        fraction: torch.cat([of_class[: max(1, round(fraction * len(of_class)))] for of_class in members]).sort().values
        for fraction in fractions
    }


def stratified_folds(labels: Tensor, count: int, seed: int) -> list[Tensor]:
    """Split images into folds for cross-validation, and distribute each class evenly over the folds.

    Args:
        labels: int64 ``[N]``.
        count: maximum number of folds; there are fewer if the smallest class has fewer images.
        seed: seed for the random choice.

    Returns:
        Sorted int64 indices of each fold; an empty list if a class has a single image.
    """
    count = min(count, int(torch.unique(labels, return_counts=True)[1].min()))
    if count < 2:
        return []
    shuffled = torch.randperm(len(labels), generator=seeded_generator(seed, "folds"))
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    return [by_class[start::count].sort().values for start in range(count)]
