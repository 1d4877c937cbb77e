"""Losses of lightly that compare the embeddings of two views, over the global batch and any number of views."""

from __future__ import annotations

from abc import abstractmethod

import torch
from lightly.loss import BarlowTwinsLoss, NTXentLoss, VICRegLoss
from pydantic import Field
from torch import Tensor

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

    waits_for_device = True  # lightly picks elements by a mask

    class Options(sslkit.Options):
        temperature: float = Field(0.5, gt=0)
        """Temperature of the softmax over similarities; 0.1 to 0.5 is usual."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.loss = NTXentLoss(temperature=options.temperature)

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        loss: Tensor = self.loss(first, second)
        return loss


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

    waits_for_device = True  # lightly picks elements by a mask

    class Options(sslkit.Options):
        invariance_weight: float = Field(25.0, ge=0)
        """Weight of the squared distance of two views."""
        variance_weight: float = Field(25.0, ge=0)
        """Weight of the hinge on each dimension's standard deviation."""
        covariance_weight: float = Field(1.0, ge=0)
        """Weight of the squared covariances."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.loss = VICRegLoss(
            lambda_param=options.invariance_weight,
            mu_param=options.variance_weight,
            nu_param=options.covariance_weight,
        )

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        loss: Tensor = self.loss(first, second)
        return loss
