"""Functions on class logits that several losses of this package use: checks, view selection, entropy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

import sslkit


def check_classifiers(name: str, context: sslkit.Context) -> None:
    """Raise an error if a classifier has fewer than two classes.

    Args:
        name: name of the loss, for messages.
        context: context of the loss.

    Raises:
        sslkit.InputError: a classifier has fewer than two classes.
    """
    if any(classes < 2 for classes in context.classifiers):
        raise sslkit.InputError(f"the {name} loss needs classifiers of at least two classes")


def select(tensor: Tensor, views: Sequence[int]) -> Tensor:
    """Return ``tensor[:, views]`` of a tensor ``[R, V, ...]``, without an index tensor, which would sync the device."""
    by_view = tensor.unbind(1)
    return torch.stack([by_view[view] for view in views], dim=1)


def normalised_entropy(shares: Tensor) -> Tensor:
    """Return the entropy of class shares ``[..., K]`` divided by ln K: 1 for equal shares, 0 for a single class."""
    entropy: Tensor = torch.special.entr(shares).sum(-1)
    return entropy / math.log(shares.shape[-1])
