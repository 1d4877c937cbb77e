"""Metrics that compare clusters with classes, and metrics of how evenly clusters are used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

PROTOCOL: Mapping[str, str] = {
    "acc": "one-to-one (Hungarian on K x C; unmatched clusters count as wrong)",
    "acc_many_to_one": "many-to-one (majority class of each cluster, found on the same images)",
    "nmi": "normalised by the arithmetic mean of the entropies",
    "ami": "adjusted for chance, normalised by the arithmetic mean of the entropies",
    "ari": "adjusted for chance",
}
"""Definition of each metric of ``cluster_scores``, for an evaluation's protocol."""


def contingency(assigned: Tensor, labels: Tensor, clusters: int, classes: int) -> Tensor:
    """Return an int64 tensor ``[K, C]`` with the number of images in each cluster and class.

    Args:
        assigned: int64 tensor ``[N]``, the cluster of each image, from 0 to K - 1.
        labels: int64 tensor ``[N]``, the class of each image, from 0 to C - 1.
        clusters: number of clusters K.
        classes: number of classes C.

    Raises:
        ValueError: there are no images, or a shape or value is invalid.
    """
    if assigned.ndim != 1 or assigned.shape != labels.shape or not len(assigned):
        raise ValueError(
            f"need one cluster and one class for each image, not {[*assigned.shape]} and {[*labels.shape]}"
        )
    for name, values, count in (("cluster", assigned, clusters), ("class", labels, classes)):
        low, high = values.min().item(), values.max().item()
        if low < 0 or high >= count:
            raise ValueError(f"each {name} must be in 0 to {count - 1}, but the values range from {low} to {high}")
    joint = assigned.cpu() * classes + labels.cpu()
    return torch.bincount(joint, minlength=clusters * classes).reshape(clusters, classes)


def cluster_scores(assigned: Tensor, labels: Tensor, clusters: int, classes: int) -> dict[str, Any]:
    """Return metrics that compare clusters with classes. K and C may differ.

    Args:
        assigned: int64 tensor ``[N]``, the cluster of each image, from 0 to K - 1.
        labels: int64 tensor ``[N]``, the class of each image, from 0 to C - 1.
        clusters: number of clusters K.
        classes: number of classes C.

    Returns:
        - ``acc``: accuracy in [0, 1] of the best one-to-one matching of clusters with classes (Kuhn, 1955).
        - ``acc_many_to_one``: accuracy in [0, 1] if each cluster predicts its majority class (purity), which is never
          below ``acc`` and tends to increase with K.
        - ``nmi``: normalised mutual information in [0, 1]; 1 for a single cluster and a single class.
        - ``ami``, ``ari``: adjusted mutual information (Vinh, Epps & Bailey, JMLR 2010) and adjusted Rand index
          (Hubert & Arabie, 1985); at most 1, and 0 on average for random clusters.
        - ``mapping``: list with the class that ``acc`` matches with each cluster, or None.

    Raises:
        ValueError: there are no images, or a shape or value is invalid.
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn import metrics

    table = contingency(assigned, labels, clusters, classes).numpy()
    matching = {int(row): int(column) for row, column in zip(*linear_sum_assignment(table, maximize=True), strict=True)}
    correct = sum(int(table[row, column]) for row, column in matching.items())
    truth, predicted = labels.cpu().numpy(), assigned.cpu().numpy()
    return {
        "acc": correct / len(predicted),
        "acc_many_to_one": int(table.max(axis=1).sum()) / len(predicted),
        "nmi": float(metrics.normalized_mutual_info_score(truth, predicted, average_method="arithmetic")),
        "ami": float(metrics.adjusted_mutual_info_score(truth, predicted, average_method="arithmetic")),
        "ari": float(metrics.adjusted_rand_score(truth, predicted)),
        "mapping": [matching.get(cluster) for cluster in range(clusters)],
    }


def classes_used(assigned: Tensor) -> int:
    """Return the number of different clusters to which images are assigned; ``assigned`` is ``[N]``."""
    return int((torch.bincount(assigned) > 0).sum())


def assignment_entropy(assigned: Tensor) -> float:
    """Return the entropy in nats of the distribution over K clusters: 0 for one used cluster, ln K if uniform.

    Args:
        assigned: integer clusters ``[N]``, or probabilities ``[N, K]``, which are averaged over the images.

    Raises:
        ValueError: there are no images, or the shape is invalid.
    """
    if assigned.ndim not in (1, 2) or not len(assigned):
        raise ValueError(f"need [N] clusters or [N, K] probabilities, not {[*assigned.shape]}")
    shares = torch.bincount(assigned) / len(assigned) if assigned.ndim == 1 else assigned.mean(dim=0)
    return float(torch.special.entr(shares.double()).sum())
