"""Discovered classes that share a name, treated as one class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def group_by_name(names: Sequence[str]) -> tuple[Tensor, list[str]]:
    """Group classes that have the same name.

    Args:
        names: name of each of K classes; a class named ``""`` is a group of its own.

    Returns:
        ``[K]`` int64, the group of each class; and the name of each group.
    """
    groups: dict[object, int] = {}
    for index, name in enumerate(names):
        groups.setdefault(name or index, len(groups))
    group = torch.tensor([groups[name or index] for index, name in enumerate(names)], dtype=torch.int64)
    return group, [key if isinstance(key, str) else "" for key in groups]


def predict_group(logits: Tensor, temperature: float, group: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the most probable group of classes for each image.

    Args:
        logits: ``[N, K]``.
        temperature: class probabilities are softmax(logits / temperature).
        group: ``[K]`` int64, the group of each class.

    Returns:
        Three ``[N]`` tensors: the most probable class within the group, the group, and the group's probability: the
        float64 sum over its classes.
    """
    probabilities = (logits.double() / temperature).softmax(1)
    summed = probabilities.new_zeros(len(logits), int(group.max()) + 1).index_add_(1, group, probabilities)
    confidence, predicted = summed.max(1)
    most_probable = probabilities.where(group == predicted[:, None], -1.0).argmax(1)
    return most_probable, predicted, confidence


def name_indices(names: Sequence[str], known: Sequence[str]) -> Tensor:
    """Return ``[G]`` int64: the index of each name among the known ones; -1 for an unknown or empty name."""
    indices = {name: index for index, name in enumerate(known)}
    return torch.tensor([indices.get(name, -1) if name else -1 for name in names], dtype=torch.int64)
