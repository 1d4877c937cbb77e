"""Variants of the NT-Xent loss: DCL, DCLW (weighted positive pairs) and DirectCLR (features instead of embeddings)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

import sslkit
from sslkit_lightly.pairwise import PairwiseLoss, nt_xent


class Dcl(PairwiseLoss):
    """Decoupled contrastive loss: NT-Xent without the positive pair in the denominator.

    The loss equals lightly's ``DCLLoss``, and can be negative.

    Source: Yeh et al., "Decoupled Contrastive Learning", ECCV 2022, arXiv 2110.06848, equation 6.
    """

    class Options(sslkit.Options):
        temperature: float = Field(0.1, gt=0)
        """Temperature of the softmax over similarities."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.temperature = options.temperature

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        first, second = normalize(first), normalize(second)
        cosine = (first * second).sum(1)
        positive = cosine * self.weights(cosine.detach()) / self.temperature
        across = first @ second.T
        # Negatives of an image are all views of other images: the diagonals belong to the image itself.
        losses = [
            torch.cat([own.fill_diagonal_(-torch.inf), other.fill_diagonal_(-torch.inf)], dim=1).logsumexp(1)
            for own, other in (
                (first @ first.T / self.temperature, across / self.temperature),
                (second @ second.T / self.temperature, across.T / self.temperature),
            )
        ]
        return torch.stack(losses).mean() - positive.mean()

    def weights(self, cosine: Tensor) -> Tensor:
        """Return the weight of each positive pair ``[N]`` from the cosines ``[N]`` of the pairs."""
        return torch.ones_like(cosine)


class Dclw(Dcl):
    """Decoupled contrastive loss in which positive pairs with a small cosine have a larger weight.

    The weight of a pair is ``2 - N softmax(cosine / sigma)``, with a softmax over the N pairs of the batch. The
    loss equals lightly's ``DCLWLoss``, and can be negative.

    Source: Yeh et al., "Decoupled Contrastive Learning", ECCV 2022, arXiv 2110.06848, equation 6, with the weights of
    lightly's ``negative_mises_fisher_weights``.
    """

    class Options(Dcl.Options):
        sigma: float = Field(0.5, gt=0)
        """Temperature of the softmax that gives the weights."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.sigma = options.sigma

    def weights(self, cosine: Tensor) -> Tensor:
        return 2 - len(cosine) * (cosine / self.sigma).softmax(0)


class DirectClr(PairwiseLoss):
    """NT-Xent loss on the first dimensions of the features, without a head.

    The loss equals lightly's ``DirectCLRLoss``.

    Source: Jing, Vincent, LeCun, Tian, "Understanding Dimensional Collapse in Contrastive Self-supervised Learning",
    ICLR 2022, arXiv 2110.09348, section 6.

    Raises:
        sslkit.OptionError: ``loss_dim`` is larger than the feature dimension.
    """

    needs = frozenset({"features"})

    class Options(sslkit.Options):
        temperature: float = Field(0.5, gt=0)
        """Temperature of the softmax over similarities; lightly's default."""

        loss_dim: int = Field(64, ge=1, le=100_000)
        """Number of feature dimensions that the loss reads; lightly's default. The paper uses 360 of 2048."""

    @classmethod
    def check_options(cls, folder: Path) -> Mapping[str, Any]:
        return {"loss_dim": 5}

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        if options.loss_dim > context.feature_dim:
            raise sslkit.OptionError("loss_dim", f"{options.loss_dim} is more than the {context.feature_dim} features")
        self.options = options

    def select(self, student: sslkit.BranchOutputs) -> tuple[Tensor, ...]:
        return tuple(features[:, : self.options.loss_dim] for features in student.features)

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        return nt_xent(first, second, self.options.temperature)
