"""Losses that compare the embeddings of pairs of views, over the global batch.

lightly's NT-Xent and covariance losses select elements with a mask, which syncs the device in every step. This module
computes both losses without a mask.
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


class PairwiseLoss(sslkit.Loss):
    """Base class for losses that compare two views: averages ``compare`` over pairs with at least one global view.

    The embeddings of all processes are gathered first, so every process computes the loss of the global batch.
    """

    api = 2
    needs = frozenset({"embeddings"})
    min_views = 2

    def __init__(self, options: sslkit.Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.world = context.world

    @abstractmethod
    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the loss of the embeddings ``[N, E]`` of two views."""

    def select(self, student: sslkit.BranchOutputs) -> tuple[Tensor, ...]:
        """Return the vectors ``[B, E]`` to compare, one tensor for each view; by default the embeddings."""
        return student.embeddings

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        """Return the loss of the global batch; for shapes see ``sslkit.ViewOutputs``."""
        embeddings = [self.world.gather(vectors) for vectors in self.select(views.student)]
        losses = [self.compare(embeddings[i], embeddings[j]) for i, j in views.pairs() if i < j]
        return sslkit.LossOutput(torch.stack(losses).mean())


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Normalise the embeddings ``[N, E]`` of two views, and return their NT-Xent loss."""
    embeddings = normalize(torch.cat([first, second]))
    similarity = embeddings @ embeddings.T / temperature
    similarity = similarity.fill_diagonal_(-torch.inf)
    positive = torch.arange(len(similarity), device=first.device).roll(len(first))
    return cross_entropy(similarity, positive)


class SimClr(PairwiseLoss):
    """NT-Xent loss: the network must identify the other view of the same image among all other views in the batch.

    Source: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020, arXiv
    2002.05709, equation 1.
    """

    class Options(sslkit.Options):
        temperature: float = Field(0.5, gt=0)
        """Temperature of the softmax over similarities, usually 0.1 to 0.5."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.temperature = options.temperature

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        return nt_xent(first, second, self.temperature)


class BarlowTwins(PairwiseLoss):
    """Barlow Twins loss: squared difference between the cross-correlation matrix of two views and the identity matrix.

    Source: Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", ICML 2021, arXiv
    2103.03230, equation 1.
    """

    class Options(sslkit.Options):
        redundancy_weight: float = Field(5e-3, ge=0)
        """Weight of the off-diagonal elements of the cross-correlation matrix."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.loss = BarlowTwinsLoss(lambda_param=options.redundancy_weight)

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        loss: Tensor = self.loss(first, second)
        return loss


class VicReg(PairwiseLoss):
    """VICReg loss: low if views are similar, each dimension has sufficient variance, and covariances are small.

    Source: Bardes, Ponce, LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning",
    ICLR 2022, arXiv 2105.04906, equation 6.
    """

    class Options(sslkit.Options):
        invariance_weight: float = Field(25.0, ge=0)
        """Weight of the squared distance between two views."""
        variance_weight: float = Field(25.0, ge=0)
        """Weight of the hinge loss on the standard deviation of each dimension."""
        covariance_weight: float = Field(1.0, ge=0)
        """Weight of the squared covariances of different dimensions."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.options = options

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        # As in lightly, the sum of the two variance terms is halved.
        variance: Tensor = (variance_loss(first) + variance_loss(second)) / 2
        covariance = _covariance_loss(first) + _covariance_loss(second)
        weights, invariance = self.options, invariance_loss(first, second)
        total: Tensor = weights.invariance_weight * invariance + weights.variance_weight * variance
        return total + weights.covariance_weight * covariance


def _covariance_loss(embeddings: Tensor) -> Tensor:
    """Return the sum of squared covariances between different dimensions, divided by the number of dimensions."""
    centred = embeddings - embeddings.mean(0)
    squares = (centred.T @ centred / (len(centred) - 1)).square()
    return (squares.sum() - squares.diagonal().sum()) / len(squares)
