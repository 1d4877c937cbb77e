"""Outlier scores of images, from the distances to their nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from sslkit.features.neighbours import check_search, inverse_lengths, similarity_blocks

NEIGHBOURS = 20
"""Default number of neighbours. With fewer, scores are noisy; with more, all images of a small class are outliers."""

OUTLIER_SCORE = 3.5
"""Score from which an image is an outlier (Iglewicz & Hoaglin, 1993)."""


def outlier_scores(
    features: Tensor,
    k: int = NEIGHBOURS,
    *,
    references: Tensor | None = None,
    chunk: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Return how unusual each image is, as a robust z-score.

    The distance of an image is 1 minus its mean cosine similarity to its k nearest neighbours. The score is the
    distance minus the median distance of the reference images, divided by the standard deviation of these distances,
    estimated as 1.4826 times the median absolute deviation. A score therefore has the same meaning for every network
    and data set: 0 is typical, and 3.5 is 3.5 standard deviations farther away than typical images. Outliers among the
    references hardly change the median or the standard deviation.

    Args:
        features: tensor ``[N, D]``.
        k: number of neighbours; if there are fewer other images, all of them are used.
        references: tensor ``[M, D]``, features of typical images, such as the training images, with which new images
            are compared. If None, the images of ``features`` are compared with each other.
        chunk: number of images to process at a time; see ``nearest_neighbours``.
        on_progress: called after each chunk of ``features`` with the number of processed images and the number of all
            images.

    Returns:
        float32 tensor ``[N]``; all zeros if all distances are equal.

    Raises:
        InputError: there are fewer than two reference images, or the features are not finite or have the wrong shape.
    """
    if references is not None:
        return OutlierScorer(references, k, chunk=chunk).score(features, on_progress)
    distances = _distances(features, min(k, max(1, len(features) - 1)), None, chunk, on_progress)
    median, scale = _median_and_scale(distances)
    return ((distances - median) / scale).float()


class OutlierScorer:
    """Outlier scorer for new images; compares the references with each other only once. See ``outlier_scores``.

    Args:
        references: tensor ``[M, D]``, features of typical images.
        k: number of neighbours; if there are fewer other images, all of them are used.
        chunk: number of images to process at a time.

    Raises:
        InputError: there are fewer than two reference images, or the features are not finite or have the wrong shape.
    """

    def __init__(self, references: Tensor, k: int = NEIGHBOURS, *, chunk: int | None = None) -> None:
        self.references, self.k, self.chunk = references, k, chunk
        typical = _distances(references, min(k, max(1, len(references) - 1)), None, chunk)
        self.median, self.scale = _median_and_scale(typical)

    def score(self, features: Tensor, on_progress: Callable[[int, int], None] | None = None) -> Tensor:
        """Return the scores of features ``[N, D]``, float32 ``[N]``. See ``outlier_scores`` for ``on_progress``."""
        if not len(features):
            return torch.empty(0)
        distances = _distances(features, min(self.k, len(self.references)), self.references, self.chunk, on_progress)
        return ((distances - self.median) / self.scale).float()


MIN_SCALE = 1e-6
"""Lower limit of the standard deviation of distances, the rounding error of float32 similarities."""


def _distances(
    features: Tensor,
    k: int,
    references: Tensor | None,
    chunk: int | None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Return 1 minus the mean cosine similarity to the k nearest neighbours, as a float64 tensor ``[N]``.

    The mean similarity is computed as the dot product of the image's unit feature and the mean of its neighbours' unit
    features. This is faster than computing the similarity to each neighbour, and does not use the less precise
    similarities that find the neighbours.
    """
    queries, bank = check_search(features, references, k)
    scale, found, done = inverse_lengths(bank), [], 0
    for part, similarity in similarity_blocks(queries, bank, exclude_self=references is None, chunk=chunk):
        # Sorted, so that rounding errors of the sum do not depend on the other images of the block.
        nearest = similarity.topk(k, dim=1, sorted=False).indices.sort(dim=1).values
        total = embedding_bag(nearest, bank, mode="sum", per_sample_weights=scale[nearest])
        found.append(1 - (total.double() * part.double()).sum(dim=1) / k)
        done += len(part)
        if on_progress is not None:
            on_progress(done, len(queries))
    return torch.cat(found)


def _median_and_scale(distances: Tensor) -> tuple[Tensor, Tensor]:
    """Return the median of distances, and a robust estimate of their standard deviation."""
    median = distances.median()
    deviations = (distances - median).abs()
    scale = 1.4826 * deviations.median()
    if scale < MIN_SCALE:  # more than half of the distances are equal
        scale = 1.2533 * deviations.mean()
    if scale < MIN_SCALE:
        scale = torch.full_like(scale, MIN_SCALE)
    return median, scale
