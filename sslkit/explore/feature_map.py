"""Two-dimensional maps of features: PCA, and t-SNE of up to 10 000 images."""

from __future__ import annotations

import torch
from torch import Tensor

from sslkit.data.splits import evenly_spaced_indices
from sslkit.features.similarity import mean_feature

FITTED = 20_000
"""Maximum number of features to which the principal components are fitted."""

BLOCK = 8192
"""Number of features that are projected at a time."""

MAX_TSNE = 10_000
"""Maximum number of images in a t-SNE map."""


def pca_map(features: Tensor) -> Tensor:
    """Project features ``[N, D]`` to float32 ``[N, 2]``: their first two principal components, scaled to [-1, 1]."""
    if min(features.shape) < 2:
        return torch.zeros(len(features), 2)
    fitted = evenly_spaced_indices(len(features), min(FITTED, len(features)))
    mean = mean_feature(features, fitted)
    # Not scikit-learn, whose import takes longer than the computation.
    covariance = torch.zeros(len(mean), len(mean))
    for block in fitted.split(BLOCK):
        centred = features[block] - mean
        covariance.addmm_(centred.T, centred)
    components = torch.linalg.eigh(covariance.double()).eigenvectors[:, -2:].flip(1).float()
    # The sign of an eigenvector is arbitrary: the largest value is positive.
    components *= components.gather(0, components.abs().argmax(0, keepdim=True)).sign()
    return _scaled(torch.cat([part @ components for part in features.split(BLOCK)]))


def tsne_map(features: Tensor) -> Tensor:
    """Return a t-SNE map of features ``[N, D]`` (van der Maaten & Hinton, 2008), scaled to [-1, 1], as ``[N, 2]``.

    The features are reduced to 50 principal components first. The same features always give the same map.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    reduced = PCA(min(50, *features.shape), svd_solver="covariance_eigh").fit_transform(features.numpy())
    perplexity = min(30.0, (len(features) - 1) / 3)
    return _scaled(torch.from_numpy(TSNE(2, perplexity=perplexity, random_state=0, init="pca").fit_transform(reduced)))


def _scaled(points: Tensor) -> Tensor:
    centred = points.float() - (points.float().amax(0) + points.float().amin(0)) / 2
    return centred / centred.abs().max().clamp(min=1e-12)
