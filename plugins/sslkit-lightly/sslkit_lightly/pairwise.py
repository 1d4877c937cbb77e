"""Losses that compare the embeddings of two views, over the global batch and any number of views.

lightly's NT-Xent and covariance pick elements by a mask, which makes the host wait for the device in every step: these
two are written without one.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from lightly.loss import BarlowTwinsLoss
from lightly.loss.vicreg_loss import invariance_loss, variance_loss
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

import sslkit


class PairLoss(sslkit.Loss):
    """The mean, over pairs of views of which at least one is global, of a loss of two views' embeddings.

    Embeddings of all processes are gathered first, so that every process computes the loss of the whole batch.

    Raises:
        sslkit.InputError: there are fewer than two views.
    """

    api = 1
    needs = frozenset({"embeddings"})

    def __init__(self, options: sslkit.Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        if context.view_count == 1:
            raise sslkit.InputError("this loss compares views: it needs at least two views of each image")
        self.world = context.world

    @abstractmethod
    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """Loss of two views' embeddings ``[N, E]``."""

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        """The loss of the whole batch; shapes as ``sslkit.ViewOutputs`` states them."""
        embeddings = [self.world.gather(embedding) for embedding in views.student.embeddings]
        losses = [self.compare(embeddings[i], embeddings[j]) for i, j in views.pairs() if i < j]
        return sslkit.LossOutput(torch.stack(losses).mean())


class SimClr(PairLoss):
    """NT-Xent: a view finds the other view of its image among all others of the batch.

    Source: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020, arXiv
    2002.05709, equation 1.
    """

    class Options(sslkit.Options):
        temperature: float = Field(0.5, gt=0)
        """Temperature of the softmax over similarities; 0.1 to 0.5 is usual."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.temperature = options.temperature

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        embeddings = normalize(torch.cat([first, second]))
        similar = embeddings @ embeddings.T / self.temperature
        similar = similar.fill_diagonal_(-torch.inf)
        partner = torch.arange(len(similar), device=first.device).roll(len(first))
        return cross_entropy(similar, partner)


class BarlowTwins(PairLoss):
    """The cross-correlation of two views' embeddings, over the batch, is to be the identity.

    Source: Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", ICML 2021, arXiv
    2103.03230, equation 1.
    """

    class Options(sslkit.Options):
        redundancy_weight: float = Field(5e-3, ge=0)
        """Weight of the off-diagonal part."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.loss = BarlowTwinsLoss(lambda_param=options.redundancy_weight)

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        loss: Tensor = self.loss(first, second)
        return loss


class VicReg(PairLoss):
    """Views agree (invariance), each dimension varies (variance), and dimensions do not repeat each other (covariance).

    Source: Bardes, Ponce, LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning",
    ICLR 2022, arXiv 2105.04906, equation 6.
    """

    class Options(sslkit.Options):
        invariance_weight: float = Field(25.0, ge=0)
        """Weight of the squared distance of two views."""
        variance_weight: float = Field(25.0, ge=0)
        """Weight of the hinge on each dimension's standard deviation."""
        covariance_weight: float = Field(1.0, ge=0)
        """Weight of the squared covariances."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.options = options

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """As lightly, which halves the sum of the two views' variance terms."""
        variance: Tensor = (variance_loss(first) + variance_loss(second)) / 2
        covariance = _off_diagonal(first) + _off_diagonal(second)
        weights, invariance = self.options, invariance_loss(first, second)
        total: Tensor = weights.invariance_weight * invariance + weights.variance_weight * variance
        return total + weights.covariance_weight * covariance


def _off_diagonal(embeddings: Tensor) -> Tensor:
    """The sum of squared covariances of different dimensions, over the number of dimensions."""
    apart = embeddings - embeddings.mean(0)
    squares = (apart.T @ apart / (len(apart) - 1)).square()
    return (squares.sum() - squares.diagonal().sum()) / len(squares)
