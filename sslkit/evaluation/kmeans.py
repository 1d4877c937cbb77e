"""k-means: the clustering that any learned one must beat."""

from __future__ import annotations

import torch
from torch import Tensor


def kmeans(features: Tensor, k: int, seed: int, restarts: int = 10) -> Tensor:
    """Clusters ``[N]`` int64 in 0..k-1 of features ``[N, D]``; see ``fit_centres``."""
    return nearest_centre(features, fit_centres(features, k, seed, restarts))


def fit_centres(features: Tensor, k: int, seed: int, restarts: int = 10) -> Tensor:
    """Centres ``[k, D]`` float32 of features ``[N, D]``, on their device.

    Lloyd's algorithm from k-means++ starts (Arthur & Vassilvitskii, 2007); the best of ``restarts`` by inertia.
    Computed in float32 on the CPU, and the same for the same seed, of which the lowest 32 bits count.

    Raises:
        ValueError: fewer than k features.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    points = features.detach().float().cpu().numpy()
    # Several threads add their partial sums in the order they finish in, which is not the same twice.
    with threadpool_limits(limits=1):
        fitted = KMeans(n_clusters=k, n_init=restarts, random_state=seed % 2**32).fit(points)
    return torch.from_numpy(fitted.cluster_centers_).to(features.device)


def nearest_centre(features: Tensor, centres: Tensor, block: int = 8192) -> Tensor:
    """Index ``[N]`` int64 of the centre, of ``[k, D]``, that is nearest to each feature, of ``[N, D]``.

    Euclidean; ``block`` features at a time, so that no more than ``block * k`` distances are in memory.
    """
    lengths = centres.square().sum(dim=1)
    # |x - c|² without |x|², which is the same for every centre.
    return torch.cat([(lengths - 2 * part.float() @ centres.T).argmin(dim=1) for part in torch.split(features, block)])
