"""Spherical k-means, which clusters unit vectors by their cosine with unit centroids."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

ROWS_AT_A_TIME = 4096
"""Number of vectors that are compared with all centroids at a time, to save memory."""


@torch.no_grad()
def spherical_kmeans(vectors: Tensor, centroids: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Cluster vectors with Lloyd's algorithm, without a device sync.

    Sums over clusters are matrix products, because atomic additions on a GPU would not be reproducible.

    Args:
        vectors: tensor ``[N, E]`` of vectors with length 1. Vectors of zeros do not change centroids.
        centroids: tensor ``[K, E]``, the initial centroids.
        iterations: int, number of iterations. Each assigns vectors to centroids, then moves each centroid to the
            normalised mean of its vectors. A centroid without vectors does not move.

    Returns:
        The centroids ``[K, E]``, and an int64 tensor ``[N]`` with the index of each vector's nearest centroid.
    """
    blocks = vectors.split(ROWS_AT_A_TIME)
    clusters = torch.arange(len(centroids), device=vectors.device)
    for _ in range(iterations):
        sums = torch.zeros_like(centroids)
        for block in blocks:
            members = _nearest(block, centroids)[:, None] == clusters
            sums += members.to(block.dtype).T @ block
        centroids = torch.where(sums.any(1, keepdim=True), normalize(sums), centroids)
    return centroids, torch.cat([_nearest(block, centroids) for block in blocks])


def _nearest(vectors: Tensor, centroids: Tensor) -> Tensor:
    """Return the index ``[N]`` of the centroid with the largest cosine with each vector."""
    return (vectors @ centroids.T).argmax(1)
