"""Group a head's classifiers by number of classes: a loss computes each group at once, which is faster."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor


class ClassifierGroups:
    """Groups of classifiers with the same number of classes, so that a loss can compute a whole group at once.

    Example: the mean loss over all classifiers, where ``compare`` maps the logits ``[R, V, B, K]`` of a group (R
    classifiers, V views, B images, K classes) to losses ``[R]``::

        groups = sslkit.ClassifierGroups(context.classifiers)
        losses = [compare(logits) for logits in groups.stack(views.student.logits)]
        total = groups.in_order(losses).mean()

    Args:
        sizes: number of classes of each classifier.

    Attributes:
        indices: list of lists with the indices of each group's classifiers.
        sizes: list with the number of classes K of each group.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        groups = defaultdict[int, list[int]](list)
        for index, size in enumerate(sizes):
            groups[size].append(index)
        self.indices = list(groups.values())
        self.sizes = list(groups)

    def stack(self, logits: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Return a tensor ``[R, V, B, K]`` for each group: the logits of its R classifiers for V views of B images.

        Args:
            logits: for each classifier, a tensor ``[B, K]`` for each of the V views, as in ``BranchOutputs.logits``.
        """
        return [
            torch.stack([view for index in group for view in logits[index]]).unflatten(0, (len(group), -1))
            for group in self.indices
        ]

    def in_order(self, values: Sequence[Tensor]) -> Tensor:
        """Return one value for each classifier, in the order of the head's classifiers.

        Args:
            values: for each group of R classifiers, a tensor ``[R]``.
        """
        by_index = {
            index: value
            for group, own in zip(self.indices, values, strict=True)
            for index, value in zip(group, own.unbind(), strict=True)
        }
        return torch.stack([by_index[index] for index in range(len(by_index))])
