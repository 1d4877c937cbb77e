"""Discovered classes that somebody named: those of one name are one class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def group_by_name(names: Sequence[str]) -> tuple[Tensor, list[str]]:
    """Classes that bear one name are one group.

    Args:
        names: of each of K classes; ``""`` for those without, which stand for themselves.

    Returns:
        ``[K]`` int64, the group of each class; the name of each group.
    """
    places: dict[object, int] = {}
    for place, name in enumerate(names):
        places.setdefault(name or place, len(places))
    group = torch.tensor([places[name or place] for place, name in enumerate(names)], dtype=torch.int64)
    return group, [name if isinstance(name, str) else "" for name in places]


def predict_group(logits: Tensor, temperature: float, group: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The likeliest group of classes for each image.

    Args:
        logits: ``[N, K]``.
        temperature: a class's probability is softmax(logits / temperature).
        group: ``[K]`` int64, the group of each class.

    Returns:
        ``[N]`` each: the likeliest class of the chosen group, the group, and its probability, the sum of its classes',
        in float64.
    """
    probabilities = (logits.double() / temperature).softmax(1)
    summed = probabilities.new_zeros(len(logits), int(group.max()) + 1).index_add_(1, group, probabilities)
    confidence, chosen = summed.max(1)
    likeliest = probabilities.where(group == chosen[:, None], -1.0).argmax(1)
    return likeliest, chosen, confidence


def name_indices(names: Sequence[str], known: Sequence[str]) -> Tensor:
    """``[G]`` int64, the place of each name among those known; -1 for those that are none of them."""
    places = {name: place for place, name in enumerate(known)}
    return torch.tensor([places.get(name, -1) if name else -1 for name in names], dtype=torch.int64)
