"""Scores of clusterings of features into a given number of clusters, computed without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sslkit.features.kmeans import fit_centres, nearest_centre

SEEDS = 4
"""Number of clusterings of all images for each candidate."""

CODING_ERROR = 0.1
"""Allowed squared coding error, as a fraction of the variance of the features."""


@dataclass(frozen=True)
class CandidateScores:
    """Label-free scores of a candidate number of classes.

    Attributes:
        classes: number of clusters K.
        silhouette: mean silhouette in [-1, 1] (Rousseeuw, 1987).
        davies_bouldin: Davies-Bouldin index, at least 0; lower is better (Davies & Bouldin, 1979).
        coding_length: bits per image needed to encode the features and their clusters; lower is better (Ma et al.,
            TPAMI 2007, equation 5).
        seed_stability: mean adjusted Rand index between clusterings with different seeds.
        half_stability: mean adjusted Rand index between the clusters of half of the images and the clusters that the
            centres of the other half predict.
        prediction_strength: share of pairs of images in the worst cluster that the other half's centres keep together,
            in [0, 1] (Tibshirani & Walther, 2005). Not part of ``combined``, because the value falls as K increases.
        smallest_share: share of the images in the smallest cluster, in [0, 1].
        combined: mean of the first five scores, each scaled to 0 for the worst and 1 for the best candidate.
    """

    classes: int
    silhouette: float
    davies_bouldin: float
    coding_length: float
    seed_stability: float
    half_stability: float
    prediction_strength: float
    smallest_share: float
    combined: float


def score_candidate(
    points: Tensor, number: int, halves: Sequence[Sequence[Tensor]], sampled: Tensor, seed: int
) -> dict[str, float]:
    """Divide points ``[N, d]`` into ``number`` clusters, and return all scores of the clusters except ``combined``.

    ``halves`` contains several random divisions of the points into two halves, each as two tensors of indices.
    ``sampled`` contains the indices of the points for the silhouette.
    """
    from sklearn.metrics import adjusted_rand_score, davies_bouldin_score, silhouette_score

    fits = [fit_centres(points, number, seed + repeat, restarts=2) for repeat in range(SEEDS)]
    assigned = [nearest_centre(points, centres) for centres in fits]
    inertias = [float((points - centres[index]).square().sum()) for centres, index in zip(fits, assigned, strict=True)]
    best = assigned[int(np.argmin(inertias))]
    pairs = [(left, right) for right in range(SEEDS) for left in range(right)]
    agreement, strength = [], []
    for first, second in halves:
        centres = [fit_centres(points[part], number, seed, restarts=3) for part in (first, second)]
        for part, own, other in ((first, *centres), (second, *centres[::-1])):
            clusters, predicted = nearest_centre(points[part], own), nearest_centre(points[part], other)
            agreement.append(adjusted_rand_score(clusters.numpy(), predicted.numpy()))
            strength.append(_kept_together(clusters, predicted, number))
    data, labels = points.numpy(), best.numpy()
    part = sampled if len(best[sampled].unique()) > 1 else torch.arange(len(points))
    return {
        "silhouette": float(silhouette_score(data[part.numpy()], labels[part.numpy()])),
        "davies_bouldin": float(davies_bouldin_score(data, labels)),
        "coding_length": _coding_length(points, best),
        "seed_stability": float(np.mean([adjusted_rand_score(assigned[i], assigned[j]) for i, j in pairs])),
        "half_stability": float(np.mean(agreement)),
        "prediction_strength": float(np.mean(strength)),
        "smallest_share": int(torch.bincount(best, minlength=number).min()) / len(best),
    }


def _kept_together(clusters: Tensor, predicted: Tensor, number: int) -> float:
    """Return, for the worst cluster, the fraction of its pairs of images that are also together in ``predicted``.

    ``clusters`` and ``predicted`` assign each image to one of ``number`` clusters.
    """
    table = torch.bincount(clusters * number + predicted, minlength=number * number).view(number, number).double()
    size = table.sum(dim=1)
    together = (table * (table - 1)).sum(dim=1)
    return float(torch.where(size > 1, together / (size * (size - 1)).clamp_min(1), 1.0).min())


def _coding_length(points: Tensor, assigned: Tensor) -> float:
    """Return the mean number of bits that encode a point: its cluster, and its position with a Gaussian per cluster."""
    count, dimensions = points.shape
    error = CODING_ERROR * float(points.double().square().sum()) / count
    total = 0.0
    for cluster in assigned.unique():
        group = points[assigned == cluster].double()
        mean = group.mean(dim=0)
        values = torch.linalg.eigvalsh((group - mean).T @ (group - mean)).clamp_min(0)
        size = len(group)
        total += float((1 + values * dimensions / (error * size)).log2().sum()) * (size + dimensions) / 2
        total += dimensions / 2 * float((1 + mean.square().sum() / error).log2())
        total -= size * float(np.log2(size / count))
    return total / count
