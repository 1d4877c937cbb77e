"""Weighted k-nearest-neighbour (kNN) classification of features."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sslkit.device.transfer import to_device

MAX_SIMILARITIES = 1 << 26
"""Number of similarities that are in memory at a time by default: 256 MiB in float32."""

MAX_NORMALISED = 1 << 26
"""Number of values of training features that are normalised at a time."""


def knn_scores(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    k: int,
    temperature: float = 0.07,
    *,
    classes: int,
    block: int | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Return the sum of votes for each class and each test feature, ``[M, classes]``, on the device of the labels.

    The k training features with the highest cosine similarity vote for their class with weight
    ``exp(similarity / temperature)`` (Wu et al., CVPR 2018, section 3.4). All weights of a test feature are divided by
    the largest weight. Memory never holds all ``N * M`` similarities or a second copy of the training features.

    Args:
        train_features: tensor ``[N, D]``.
        train_labels: int64 tensor ``[N]`` with values from 0 to classes - 1.
        test_features: tensor ``[M, D]``.
        k: number of neighbours, from 1 to N.
        temperature: temperature of the votes, above 0; a lower temperature gives more weight to the nearest neighbours.
        classes: number of classes.
        block: number of test features to process at a time; by default limited by ``MAX_SIMILARITIES``.
        device: device on which to compute the similarities; None means the device of the training features.

    Raises:
        ValueError: k is not between 1 and N.
    """
    if not 1 <= k <= len(train_features):
        raise ValueError(f"k must be in 1 to {len(train_features)}, the number of training features, but is {k}")
    rows = max(1, min(len(train_features), MAX_NORMALISED // train_features.shape[1]))
    device = device or train_features.device
    parts = torch.split(test_features, block or max(1, MAX_SIMILARITIES // rows))
    nearest = [_nearest(normalize(to_device(part, device).float(), dim=1), train_features, k, rows) for part in parts]
    # After the loop, because the host waits for a GPU in each copy. On the CPU, sums have the same order in each run.
    similarity, neighbours = (torch.cat(tensors).to(train_labels.device) for tensors in zip(*nearest, strict=True))
    # Relative to the nearest neighbour, so that exp cannot overflow.
    weights = ((similarity - similarity[:, :1]) / temperature).exp()
    return weights.new_zeros(len(weights), classes).scatter_add_(1, train_labels[neighbours], weights)


def _nearest(queries: Tensor, bank: Tensor, k: int, rows: int) -> tuple[Tensor, Tensor]:
    """Return similarities and indices ``[M, k]`` of the rows of ``bank`` that are nearest to each of M queries.

    ``rows`` is the number of queries to process at a time.
    """
    similarity = queries.new_empty(len(queries), 0)
    indices = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
    for start in range(0, len(bank), rows):
        part = normalize(to_device(bank[start : start + rows], queries.device).float(), dim=1)
        part_similarity, part_indices = (queries @ part.T).topk(min(k, len(part)), dim=1)
        joined = torch.cat([similarity, part_similarity], dim=1)
        similarity, nearest = joined.topk(min(k, joined.shape[1]), dim=1)
        indices = torch.cat([indices, part_indices + start], dim=1).gather(1, nearest)
    return similarity, indices


def knn_accuracy(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    k: int,
    *,
    classes: int,
    device: torch.device | None = None,
) -> float:
    """Return the accuracy in [0, 1] of predicting the class with the most votes; see ``knn_scores``."""
    predicted = knn_scores(train_features, train_labels, test_features, k, classes=classes, device=device).argmax(dim=1)
    return float((predicted == test_labels).double().mean())
