"""Losses and target distributions of iBOT and DINOv2."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

import sslkit

KOLEO_EPS = 1e-8
"""Small distance added before the logarithm, as in lightly."""

FAR = -2.0
"""Value below every cosine, for the similarity of an image with itself."""


class CentredTargets(nn.Module):
    """Target probabilities: the softmax of the teacher's logits minus the centre, a moving average of the logits.

    Args:
        world: the processes of the training run.
        prototypes: number of prototypes K.
        momentum: momentum of the centre.
    """

    center: Tensor

    def __init__(self, world: sslkit.World, prototypes: int, momentum: float) -> None:
        super().__init__()
        self.world, self.momentum = world, momentum
        self.register_buffer("center", torch.zeros(prototypes))

    @torch.no_grad()
    def forward(self, logits: Tensor, temperature: Tensor, valid: Tensor) -> Tensor:
        """Return target probabilities ``[M, K]``, and update the centre.

        Args:
            logits: the teacher's logits ``[M, K]``.
            temperature: scalar temperature of the softmax.
            valid: tensor ``[M]``, 1 for rows that update the centre, else 0.
        """
        targets = ((logits - self.center) / temperature).softmax(1)
        if self.training:
            rows = self.world.sum(valid.sum()).clamp(min=1)
            mean = self.world.sum((logits * valid[:, None]).sum(0)) / rows
            self.center.copy_(self.center * self.momentum + mean * (1 - self.momentum))
        return targets


class SinkhornTargets(nn.Module):
    """Assignment of the global batch to prototypes, in which all prototypes are used equally (Sinkhorn-Knopp).

    Source: Caron et al., NeurIPS 2020, arXiv 2006.09882, section 3; Oquab et al., arXiv 2304.07193, section 4.

    Args:
        world: the processes of the training run.
        iterations: number of iterations; 3 in DINOv2.
    """

    def __init__(self, world: sslkit.World, iterations: int) -> None:
        super().__init__()
        self.world, self.iterations = world, iterations

    @torch.no_grad()
    def forward(self, logits: Tensor, temperature: Tensor, valid: Tensor) -> Tensor:
        """Return target probabilities ``[M, K]``; arguments as in ``CentredTargets``."""
        scores = logits / temperature
        # Only valid rows determine the largest score, as padding may be larger.
        largest = self.world.max(torch.where(valid[:, None] > 0, scores, -torch.inf).amax())
        largest = torch.where(largest.isfinite(), largest, torch.zeros_like(largest))
        assigned = (scores - largest).clamp(max=0).exp() * valid[:, None]
        for _ in range(self.iterations):
            used = self.world.sum(assigned.sum(0))
            assigned = assigned / used.clamp(min=torch.finfo(used.dtype).tiny) / assigned.shape[1]
            assigned = assigned / assigned.sum(1, keepdim=True).clamp(min=torch.finfo(used.dtype).tiny)
        return assigned


def cross_entropy(targets: Tensor, logits: Tensor) -> Tensor:
    """Return the cross-entropy ``[M]`` of target probabilities and logits, both ``[M, K]``."""
    return -(targets * logits.log_softmax(1)).sum(1)


def koleo(features: Tensor) -> Tensor:
    """Return the KoLeo loss of features ``[N, D]``: minus the mean logarithm of the distance to the nearest neighbour.

    The loss equals lightly's ``KoLeoLoss``. It is low if features are spread over the unit sphere.

    Source: Sablayrolles et al., "Spreading vectors for similarity search", ICLR 2019, arXiv 1806.03198, equation 4.
    """
    unit = normalize(features, eps=KOLEO_EPS)
    with torch.no_grad():
        similarity = (unit @ unit.T).fill_diagonal_(FAR)
        nearest = similarity.argmax(1)
    distance = (unit - unit[nearest] + KOLEO_EPS).norm(dim=1)
    loss: Tensor = -(distance + KOLEO_EPS).log().mean()
    return loss
