"""Measure how often clusterings with different seeds find the same classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sslkit.errors import InputError

JACCARD = 0.5
"""Smallest Jaccard index at which a clustering finds a class (Hennig, 2007: below 0.5, a cluster is dissolved)."""


def recurring_classes(assigned: Tensor, others: Sequence[Tensor], classes: int) -> Tensor:
    """Return, for each class, the share of the other clusterings that also find this class.

    For each other clustering, the Hungarian algorithm matches classes and clusters one to one, so that the sum of the
    Jaccard indices (images in both, divided by images in either) is maximal. A clustering finds a class if the
    Jaccard index of the class and its matched cluster is at least 0.5.

    Args:
        assigned: int64 tensor ``[N]``, class of each image, from 0 to K - 1.
        others: one int64 tensor ``[N]`` for each other clustering, the cluster of each image, at least 0. The
            clusterings may differ in their number of clusters.
        classes: number of classes K.

    Returns:
        float32 tensor ``[K]`` in [0, 1]; 0 for a class without images.

    Raises:
        InputError: there is no other clustering, or a shape or a value is wrong.
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
