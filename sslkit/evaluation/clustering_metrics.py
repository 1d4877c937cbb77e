"""Agreement of clusters with classes, and how evenly clusters are used."""

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
    """Return ``[K, C]`` int64: the number of images of each class in each cluster.

    Args:
        assigned: ``[N]`` int64 cluster of each image, in 0 to K - 1.
        labels: ``[N]`` int64 class of each image, in 0 to C - 1.
        clusters: K.
        classes: C.

    Raises:
        ValueError: no images, or a wrong shape or value.
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
    """Return metrics of the agreement of clusters with classes; K and C may differ.

    Args:
        assigned: ``[N]`` int64 cluster of each image, in 0 to K - 1.
        labels: ``[N]`` int64 class of each image, in 0 to C - 1.
        clusters: K.
        classes: C.

    Returns:
        - ``acc``: accuracy in [0, 1] of the best one-to-one matching of clusters with classes (Kuhn, 1955).
        - ``acc_many_to_one``: accuracy in [0, 1] when each cluster predicts its majority class (purity). It is never
          below ``acc`` and grows with K.
        - ``nmi``: normalised mutual information in [0, 1]; 1 for a single cluster and a single class.
        - ``ami``, ``ari``: adjusted mutual information (Vinh, Epps & Bailey, JMLR 2010) and adjusted Rand index
          (Hubert & Arabie, 1985); at most 1, and 0 on average for random clusters.
        - ``mapping``: for each cluster the class that ``acc`` matches it with, or None.

    Raises:
        ValueError: no images, or a wrong shape or value.
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
    """Return the number of different clusters in assignments ``[N]``."""
    return int((torch.bincount(assigned) > 0).sum())


def assignment_entropy(assigned: Tensor) -> float:
    """Return the entropy in nats of the distribution over clusters: 0 for one cluster, ln(K) for a uniform one.

    Args:
        assigned: ``[N]`` integer clusters, or ``[N, K]`` probabilities, which are averaged over the images.

    Raises:
        ValueError: no images, or another shape.
    """
    if assigned.ndim not in (1, 2) or not len(assigned):
        raise ValueError(f"need [N] clusters or [N, K] probabilities, not {[*assigned.shape]}")
    shares = torch.bincount(assigned) / len(assigned) if assigned.ndim == 1 else assigned.mean(dim=0)
    return float(torch.special.entr(shares.double()).sum())
