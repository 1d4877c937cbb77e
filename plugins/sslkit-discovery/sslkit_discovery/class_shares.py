"""Moving averages of class shares, which show whether a class is vanishing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import sslkit


class ClassShares(nn.Module):
    """Moving average over batches of the share of images in each of K classes; the average starts at 1 / K.

    For each number of classes K, the buffer ``shares_{K}`` ``[R, K]`` contains the shares of the R classifiers with K
    classes. If all processes update with the same values, the shares are the same in all processes.

    Args:
        groups: the head's classifiers, grouped by number of classes.
        momentum: momentum of the moving averages.
    """

    def __init__(self, groups: sslkit.ClassifierGroups, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        for group, classes in zip(groups.indices, groups.sizes, strict=True):
            self.register_buffer(f"shares_{classes}", torch.full((len(group), classes), 1 / classes))

    @torch.no_grad()
    def update(self, batch: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return the shares ``[R, K]``; in training, first move them towards the shares of a batch.

        Args:
            batch: tensor ``[R, K]``, the shares in the global batch.
            valid: bool tensor ``[R]``, classifiers whose shares are updated, or None for all.
        """
        shares = self.get_buffer(f"shares_{batch.shape[1]}")
        if self.training:
            difference = batch.to(shares.dtype) - shares
            if valid is not None:
                difference = difference * valid[:, None]
            shares += (1 - self.momentum) * difference
        return shares.to(batch.dtype).clone()
