"""Merge discovered classes with the same name."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def group_by_name(names: Sequence[str]) -> tuple[Tensor, list[str]]:
    """Group classes that have the same name.

    Args:
        names: name of each of K classes. Each class with the name ``""`` is a separate group.

    Returns:
        int64 tensor ``[K]`` with the group index of each class, and the name of each group.
    """
    groups: dict[object, int] = {}
    for index, name in enumerate(names):
        groups.setdefault(name or index, len(groups))
    group = torch.tensor([groups[name or index] for index, name in enumerate(names)], dtype=torch.int64)
    return group, [key if isinstance(key, str) else "" for key in groups]


def predict_group(logits: Tensor, temperature: float, group: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the most probable group of classes for each image.

    Args:
        logits: tensor ``[N, K]``.
        temperature: temperature of the class probabilities softmax(logits / temperature).
        group: int64 tensor ``[K]``, the group index of each class.

    Returns:
        Three tensors ``[N]``: the smallest class index in the predicted group, the index of this group, and its
        probability (float64, summed over the classes of the group).
    """
    probabilities = (logits.double() / temperature).softmax(1)
    summed = probabilities.new_zeros(len(logits), int(group.max()) + 1).index_add_(1, group, probabilities)
    confidence, predicted = summed.max(1)
    classes = torch.arange(len(group), device=group.device)
    smallest = group.new_zeros(summed.shape[1]).scatter_reduce_(0, group, classes, "amin", include_self=False)
    return smallest[predicted], predicted, confidence


def name_indices(names: Sequence[str], known: Sequence[str]) -> Tensor:
    """Return, for each of ``names``, its index in ``known`` (int64 tensor); -1 for unknown and empty names."""
    indices = {name: index for index, name in enumerate(known)}
    return torch.tensor([indices.get(name, -1) if name else -1 for name in names], dtype=torch.int64)
