"""k-means clustering, a baseline for discovered classes."""

from __future__ import annotations

import torch
from torch import Tensor

from sslkit.data.splits import evenly_spaced_indices
from sslkit.features.similarity import BLOCK

MAX_FITTED = 20_000
"""Maximum number of features to which ``cluster_rows`` fits centres: k-means copies them, 200 MB with 1280 values."""


def fit_centres(features: Tensor, k: int, seed: int, restarts: int = 10) -> Tensor:
    """Return the cluster centres (float32 ``[k, D]``) of features ``[N, D]``, on the features' device.

    Lloyd's algorithm with k-means++ initialisation (Arthur & Vassilvitskii, 2007) is run ``restarts`` times, and the
    result with the lowest inertia is used. All computations use float32 on the CPU. Equal seeds give equal centres;
    only the lowest 32 bits of the seed are used.

    Raises:
        ValueError: there are fewer than k features.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    points = features.detach().float().cpu().numpy()
    # One thread, because the order in which threads add their partial sums varies between calls.
    with threadpool_limits(limits=1):
        fitted = KMeans(n_clusters=k, n_init=restarts, random_state=seed % 2**32).fit(points)
    return torch.from_numpy(fitted.cluster_centers_).to(features.device)


def nearest_centre(features: Tensor, centres: Tensor, block: int = 8192) -> Tensor:
    """Return the index of the centre with the smallest Euclidean distance to each feature, as int64 ``[N]``.

    Args:
        features: tensor ``[N, D]``.
        centres: tensor ``[k, D]``.
        block: number of features to process at a time; memory is needed for ``block * k`` distances.
    """
    lengths = centres.square().sum(dim=1)
    # |x - c|² without |x|², which is equal for all centres.
    return torch.cat([(lengths - 2 * part.float() @ centres.T).argmin(dim=1) for part in torch.split(features, block)])


def cluster_rows(features: Tensor, indices: Tensor, k: int, seed: int, restarts: int = 10) -> Tensor:
    """Cluster the rows ``indices`` ``[M]`` of features ``[N, D]``, and return the cluster of each, int64 ``[M]``.

    Centres are fitted to at most ``MAX_FITTED`` of these rows, evenly spaced; see ``fit_centres``.
    """
    fitted = indices[evenly_spaced_indices(len(indices), min(MAX_FITTED, len(indices)))]
    centres = fit_centres(features[fitted], k, seed, restarts)
    return torch.cat([nearest_centre(features[block], centres) for block in indices.split(BLOCK)])
