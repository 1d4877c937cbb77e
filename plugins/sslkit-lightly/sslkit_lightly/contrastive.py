"""Contrastive losses that differ from NT-Xent in their denominator, temperature or input."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

import sslkit
from sslkit_lightly.pairwise import PairwiseLoss


class Dcl(PairwiseLoss):
    """Decoupled contrastive loss: NT-Xent without the positive pair in the denominator.

    Equals lightly's ``DCLLoss``. The loss can be negative.

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

    The weight of a pair is ``2 - N softmax(cosine / sigma)``, with a softmax over the N pairs of the batch. Equals
    lightly's ``DCLWLoss``. The loss can be negative.

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
