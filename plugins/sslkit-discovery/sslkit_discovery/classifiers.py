"""Group a head's classifiers by number of classes: a loss computes each group at once, which is faster."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

import sslkit


def check_context(name: str, context: sslkit.Context) -> None:
    """Check that there are at least two views and two classes, if the context contains these numbers.

    Args:
        name: name of the loss, for messages.
        context: context of the loss.

    Raises:
        sslkit.InputError: there is only one view of each image, or a classifier has fewer than two classes.
    """
    if context.view_count == 1:
        raise sslkit.InputError(f"the {name} loss compares views and needs at least two views of each image")
    if any(classes < 2 for classes in context.classifiers):
        raise sslkit.InputError(f"the {name} loss needs classifiers of at least two classes")


def same_size(sizes: Sequence[int]) -> list[list[int]]:
    """Group classifiers with the same number of classes, and return the indices of each group.

    Args:
        sizes: number of classes of each classifier.
    """
    groups = defaultdict[int, list[int]](list)
    for index, size in enumerate(sizes):
        groups[size].append(index)
    return list(groups.values())


def stack(logits: Sequence[Sequence[Tensor]], indices: Sequence[int]) -> Tensor:
    """Return the logits ``[R, V, B, K]`` of R classifiers with the same number of classes, for V views.

    Args:
        logits: for each classifier, a tensor ``[B, K]`` for each view.
        indices: indices of the R classifiers.
    """
    return torch.stack([torch.stack(list(logits[index])) for index in indices])


def select(tensor: Tensor, views: Sequence[int]) -> Tensor:
    """Return the given views of a tensor ``[R, V, ...]`` without an index tensor, which would sync the device."""
    by_view = tensor.unbind(1)
    return torch.stack([by_view[view] for view in views], dim=1)


def in_order(groups: Sequence[Sequence[int]], values: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return one value for each classifier, in the head's order, from the values of each group (see ``same_size``).

    Args:
        groups: indices of the classifiers of each group.
        values: a tensor ``[R]`` for each group.
    """
    pairs = zip((index for group in groups for index in group), torch.cat(list(values)).unbind(), strict=True)
    return tuple(value for _, value in sorted(pairs, key=lambda pair: pair[0]))


def normalised_entropy(shares: Tensor) -> Tensor:
    """Return the entropy of class shares ``[..., K]`` divided by ln K: 1 for equal shares, 0 for a single class."""
    entropy: Tensor = torch.special.entr(shares).sum(-1)
    return entropy / math.log(shares.shape[-1])
