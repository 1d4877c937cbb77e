"""Similarities of features, computed block by block: a copy of all features would take as much memory as they do."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 8192
"""Number of features that are copied at a time."""


def similarities(features: Tensor, indices: Tensor, vector: Tensor) -> Tensor:
    """Return the dot products ``[M]`` of a vector ``[D]`` and the features ``[N, D]`` with the indices ``[M]``."""
    return torch.cat([block @ vector for block in _blocks(features, indices)])


def mean_feature(features: Tensor, indices: Tensor) -> Tensor:
    """Return the mean ``[D]`` of the features ``[N, D]`` with the indices ``[M]``; 0 if there are none."""
    total = features.new_zeros(features.shape[1])
    for block in _blocks(features, indices):
        total += block.sum(dim=0)
    return total / max(1, len(indices))


def _blocks(features: Tensor, indices: Tensor) -> Iterator[Tensor]:
    if len(indices) == len(features) and torch.equal(indices, torch.arange(len(features))):
        yield from features.split(BLOCK)
    else:
        for block in indices.split(BLOCK):
            yield features[block]
