"""Classes that other clusterings of the same images find again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sslkit.errors import InputError

JACCARD = 0.5
"""Smallest Jaccard index with which a class returns (Hennig, 2007: below 0.5 a cluster counts as dissolved)."""


def recurring_classes(assigned: Tensor, others: Sequence[Tensor], classes: int) -> Tensor:
    """Return for each class the share of other clusterings in which it returns.

    The Hungarian algorithm matches the classes with the clusters of another clustering one to one, so that the sum of
    their Jaccard indices (images in both, divided by images in either) is the highest. A class returns if the index of
    its match is at least 0.5.

    Args:
        assigned: ``[N]`` int64 class of each image, in 0 to K - 1.
        others: ``[N]`` int64 clusters of the same images, at least 0, one tensor per other seed. Their number of
            clusters may differ.
        classes: K.

    Returns:
        ``[K]`` float32 in [0, 1]; 0 for a class without images.

    Raises:
        InputError: no other clustering, or a wrong shape or value.
    """
    from scipy.optimize import linear_sum_assignment

    if not len(others):
        raise InputError("classes can only return in other clusterings: give those of at least one other seed")
    for number, clusters in enumerate((assigned, *others)):
        if clusters.ndim != 1 or len(clusters) != len(assigned) or not len(clusters):
            raise InputError(
                f"clustering {number} has the shape {[*clusters.shape]}, but each must have one class for each of the "
                f"{len(assigned)} images"
            )
        if clusters.min() < 0 or (number == 0 and clusters.max() >= classes):
            raise InputError(f"clustering {number} has classes out of range: {clusters.min()} to {clusters.max()}")
    returned = np.zeros(classes)
    for other in others:
        count = int(other.max()) + 1
        joint = torch.bincount(assigned.cpu() * count + other.cpu(), minlength=classes * count)
        both = joint.view(classes, count).double().numpy()
        either = both.sum(axis=1, keepdims=True) + both.sum(axis=0, keepdims=True) - both
        overlap = both / np.maximum(either, 1)
        rows, columns = linear_sum_assignment(overlap, maximize=True)
        returned[rows] += overlap[rows, columns] >= JACCARD
    return torch.from_numpy(returned / len(others)).float()
