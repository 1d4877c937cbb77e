"""k-means clustering, the baseline for learned classes."""

from __future__ import annotations

import torch
from torch import Tensor


def fit_centres(features: Tensor, k: int, seed: int, restarts: int = 10) -> Tensor:
    """Return cluster centres ``[k, D]`` float32 of features ``[N, D]``, on their device.

    Lloyd's algorithm with k-means++ initialisation (Arthur & Vassilvitskii, 2007); of ``restarts`` fits the one with
    the least inertia. Computed in float32 on the CPU. Equal seeds give equal centres; only the lowest 32 bits of the
    seed count.

    Raises:
        ValueError: fewer than k features.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    points = features.detach().float().cpu().numpy()
    # Threads add their partial sums in the order in which they finish, which varies between calls.
    with threadpool_limits(limits=1):
        fitted = KMeans(n_clusters=k, n_init=restarts, random_state=seed % 2**32).fit(points)
    return torch.from_numpy(fitted.cluster_centers_).to(features.device)


def nearest_centre(features: Tensor, centres: Tensor, block: int = 8192) -> Tensor:
    """Return the index ``[N]`` int64 of the centre nearest to each feature, by Euclidean distance.

    Args:
        features: ``[N, D]``.
        centres: ``[k, D]``.
        block: features at a time; limits the distances in memory to ``block * k``.
    """
    lengths = centres.square().sum(dim=1)
    # |x - c|² without |x|², which is the same for every centre.
    return torch.cat([(lengths - 2 * part.float() @ centres.T).argmin(dim=1) for part in torch.split(features, block)])
