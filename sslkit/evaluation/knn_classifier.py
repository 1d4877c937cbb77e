"""Weighted k-nearest-neighbour classification of features."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

SIMILARITIES = 1 << 26
"""How many similarities are in memory at a time, unless told otherwise: 256 MiB in float32."""

BANK = 1 << 26
"""How many numbers of the train features are normalised at a time: a copy of all of them may not fit."""


def knn_scores(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    k: int,
    temperature: float = 0.07,
    *,
    classes: int,
    block: int | None = None,
) -> Tensor:
    """Votes ``[M, classes]`` for the class of each test feature, by its k nearest train features.

    Nearness is cosine similarity, and a neighbour's vote weighs ``exp(similarity / temperature)`` (Wu et al., CVPR
    2018, section 3.4).  Works on the device of the features; never holds all ``N * M``
    similarities, nor a second copy of the features.

    Args:
        train_features: ``[N, D]``.
        train_labels: ``[N]`` int64, in 0..classes-1.
        test_features: ``[M, D]``.
        k: neighbours, 1..N.
        temperature: above 0; the smaller, the more the very nearest count.
        classes: number of classes.
        block: test features at a time; by default as many as keep to ``SIMILARITIES``.

    Raises:
        ValueError: k is not in 1..N.
    """
    if not 1 <= k <= len(train_features):
        raise ValueError(f"k must be in 1..{len(train_features)}, the number of train features, but is {k}")
    rows = max(1, min(len(train_features), BANK // train_features.shape[1]))
    scores = []
    for part in torch.split(test_features, block or max(1, SIMILARITIES // rows)):
        similarity, neighbours = _nearest(normalize(part.float(), dim=1), train_features, k, rows)
        # Relative to the nearest neighbour, which scales all votes alike and cannot overflow.
        weights = ((similarity - similarity[:, :1]) / temperature).exp()
        scores.append(weights.new_zeros(len(part), classes).scatter_add_(1, train_labels[neighbours], weights))
    return torch.cat(scores)


def _nearest(queries: Tensor, bank: Tensor, k: int, rows: int) -> tuple[Tensor, Tensor]:
    """Similarities and places ``[M, k]`` of the nearest features, from so many rows of the bank at a time."""
    similarity, places = queries.new_empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.int64)
    places = places.to(queries.device)
    for start in range(0, len(bank), rows):
        part = normalize(bank[start : start + rows].float(), dim=1)
        new, found = (queries @ part.T).topk(min(k, len(part)), dim=1)
        joined = torch.cat([similarity, new], dim=1)
        similarity, chosen = joined.topk(min(k, joined.shape[1]), dim=1)
        places = torch.cat([places, found + start], dim=1).gather(1, chosen)
    return similarity, places


def knn_predict(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    k: int,
    temperature: float = 0.07,
    *,
    classes: int,
    block: int | None = None,
) -> Tensor:
    """Class ``[M]`` int64 of each test feature that gets most of the votes of ``knn_scores``."""
    return knn_scores(train_features, train_labels, test_features, k, temperature, classes=classes, block=block).argmax(
        dim=1
    )


def knn_accuracy(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    k: int,
    temperature: float = 0.07,
    *,
    classes: int,
    block: int | None = None,
) -> float:
    """Fraction in 0..1 of test features whose class ``knn_predict`` finds."""
    predicted = knn_predict(train_features, train_labels, test_features, k, temperature, classes=classes, block=block)
    return float((predicted == test_labels).double().mean())
