"""Load, check and divide labelled splits."""

from __future__ import annotations

import torch
from torch import Tensor

from sslkit.contracts.dataset import Dataset, Split
from sslkit.data.seeds import seeded_generator
from sslkit.errors import DataError


def load_split(dataset: Dataset, name: str) -> Split:
    """Load a split, and check its labels if it has labels.

    Raises:
        DataError: the labels are not int64, or a label is negative or not an index of the data set's class names.
    """
    split = dataset.load(name)
    labels, names = split.labels, dataset.class_names
    if labels is None or not len(labels):
        return split
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.ndim != 1:
        shape = f"{labels.dtype} {list(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
        raise DataError(
            f"the labels of the split {name!r} are {shape}. Correct the data set: they must be a tensor int64 [N]."
        )
    smallest, largest = int(labels.min()), int(labels.max())
    if names and (smallest < 0 or largest >= len(names)):
        raise DataError(
            f"the labels of the split {name!r} are {smallest} to {largest}, but the data set names "
            f"{len(names)} classes. Correct the data set: labels must be 0 to {len(names) - 1}."
        )
    if smallest < 0:
        raise DataError(
            f"the labels of the split {name!r} are {smallest} to {largest}. Correct the data set: labels must be 0 or "
            "more. Put images without a label into a split 'pretrain'."
        )
    return split


def stratified_split(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Split images into two parts, with the same fraction of each class.

    A class of at least two images has at least one image in each part.

    Args:
        labels: int64 ``[N]``.
        fraction: fraction of each class that is in the second part, in (0, 1).
        seed: the run's seed.

    Returns:
        Sorted int64 indices of the first and of the second part.
    """
    shuffled = torch.randperm(len(labels), generator=seeded_generator(seed, "split"))
    second = torch.zeros(len(labels), dtype=torch.bool)
    for label in torch.unique(labels):
        members = shuffled[labels[shuffled] == label]
        if len(members) > 1:
            second[members[: min(max(1, round(fraction * len(members))), len(members) - 1)]] = True
    return (~second).nonzero().flatten(), second.nonzero().flatten()


def evenly_spaced_indices(total: int, count: int) -> Tensor:
    """Return ``count`` evenly spaced int64 indices from 0 to ``total`` - 1, including both ends."""
    return torch.linspace(0, total - 1, count, dtype=torch.float64).round().long()
