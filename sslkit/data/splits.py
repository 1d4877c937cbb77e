"""Labelled splits, and the validation split that is cut from the training labels, never from what is trained on."""

from __future__ import annotations

import torch
from torch import Tensor

from sslkit.contracts.dataset import Dataset, ImageStore, Split
from sslkit.data.seeds import seeded_generator
from sslkit.errors import DataError


def labelled(dataset: Dataset, name: str) -> Split:
    """A split whose labels are checked, where it has any.

    Raises:
        DataError: a label is no place in the data set's class names.
    """
    split = dataset.load(name)
    names = dataset.class_names
    if split.labels is not None and len(split.labels) and names:
        least, most = int(split.labels.min()), int(split.labels.max())
        if least < 0 or most >= len(names):
            raise DataError(
                f"the data set labels images of its {name!r} split {least} to {most}, but names {len(names)} classes"
            )
    return split


def stratified(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Cut labelled images in two, every class in the same proportion and no class left out of either where it has two.

    Args:
        labels: ``[N]`` int64.
        fraction: part of each class that goes to the second piece, rounded, at least one image.
        seed: the run's seed.

    Returns:
        Sorted int64 places of the first and of the second piece.
    """
    shuffled = torch.randperm(len(labels), generator=seeded_generator(seed, "split"))
    second = torch.zeros(len(labels), dtype=torch.bool)
    for label in torch.unique(labels):
        members = shuffled[labels[shuffled] == label]
        if len(members) > 1:
            second[members[: min(max(1, round(fraction * len(members))), len(members) - 1)]] = True
    return (~second).nonzero().flatten(), second.nonzero().flatten()


def evenly_spaced_indices(total: int, count: int) -> Tensor:
    """Return int64 ``[count]`` indices in 0 to ``total`` - 1: the first, the last, and others evenly spaced between."""
    return torch.linspace(0, total - 1, count, dtype=torch.float64).round().long()


class Subset:
    """Some images of a store, in a given order.

    Args:
        images: the store.
        places: ``[M]`` int64.
    """

    def __init__(self, images: ImageStore, places: Tensor) -> None:
        self.images = images
        self.places = places

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of every image."""
        return self.images.shape

    def __len__(self) -> int:
        return len(self.places)

    def gather(self, index: Tensor) -> Tensor:
        """uint8 images ``[B, C, H, W]`` at the int64 places ``[B]`` of this subset."""
        return self.images.gather(self.places[index])


class Joined:
    """The images of two stores of one shape, the second's after the first's."""

    def __init__(self, first: ImageStore, second: ImageStore) -> None:
        self.first = first
        self.second = second

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of every image."""
        return self.first.shape

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def gather(self, index: Tensor) -> Tensor:
        """uint8 images ``[B, C, H, W]`` at the int64 places ``[B]``."""
        early = index < len(self.first)
        found = torch.empty(len(index), *self.shape, dtype=torch.uint8)
        found[early] = self.first.gather(index[early]).cpu()
        found[~early] = self.second.gather(index[~early] - len(self.first)).cpu()
        return found
