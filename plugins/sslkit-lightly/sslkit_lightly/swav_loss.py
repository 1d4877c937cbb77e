"""The SwAV loss: each view predicts the prototypes that global views are assigned to.

Source: Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments", NeurIPS 2020,
arXiv 2006.09882, equations 1 to 5.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

import sslkit


class SwavLoss(sslkit.Loss):
    """Swapped prediction: cross-entropy of a global view's assignment and every other view's softmax.

    The loss is averaged over images, over pairs of a global view and another view, and over sets of prototypes.  It
    equals lightly's ``SwaVLoss`` where that is finite.  Assignments are made by :func:`sinkhorn` over the global batch
    and carry no gradient.  A loss that stays at ``ln K`` means collapse.

    Raises:
        sslkit.InputError: there are fewer than two views.
    """

    api = 1
    needs = frozenset({"logits"})

    class Options(sslkit.Options):
        temperature: float = Field(0.1, gt=0)
        """Temperature of the predictions' softmax."""

        sinkhorn_epsilon: float = Field(0.05, gt=0)
        """Smoothness of assignments: smaller is sharper."""

        sinkhorn_iterations: int = Field(3, ge=1)
        """Times that prototypes, then images, are made to weigh alike."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        if context.view_count == 1:
            raise sslkit.InputError("the swav loss compares views: it needs at least two views of each image")
        self.options = options
        self.world = context.world

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        """The loss of this process's part of the batch; shapes as :class:`sslkit.ViewOutputs` states them."""
        losses = [self._swap(torch.stack(logits), views.global_views) for logits in views.student.logits]
        return sslkit.LossOutput(
            total=torch.stack(losses).mean(), per_classifier=tuple(loss.detach() for loss in losses)
        )

    def _swap(self, logits: Tensor, global_views: int) -> Tensor:
        """The loss of one set of prototypes, from logits ``[V, B, K]``."""
        options = self.options
        codes = sinkhorn(logits[:global_views], options.sinkhorn_epsilon, options.sinkhorn_iterations, world=self.world)
        predictions = (logits / options.temperature).log_softmax(2)
        of_others = predictions.sum(0) - predictions[:global_views]
        return -(codes * of_others).sum(2).mean() / (len(logits) - 1)


@torch.no_grad()
def sinkhorn(logits: Tensor, epsilon: float, iterations: int, world: sslkit.World) -> Tensor:
    """Assign images to prototypes, softly and in equal shares (Sinkhorn and Knopp; arXiv 2006.09882, equation 3).

    Logarithms throughout: ``exp(logits / epsilon)`` overflows, or leaves a prototype or an image with no weight at
    all, for a small epsilon, whatever constant is subtracted first.

    Args:
        logits: ``[..., B, K]``, this process's images.
        epsilon: smoothness, above 0.
        iterations: how often prototypes, then images, are normalised; at least 1.
        world: the processes whose images share the prototypes.

    Returns:
        ``[..., B, K]``; each image's weights sum to 1, and each prototype's, over all processes, come nearer to the
        number of images over K with every iteration.
    """
    log = logits / epsilon
    for _ in range(iterations):
        highest = world.max(log.amax(-2, keepdim=True))
        log = log - highest - world.sum((log - highest).exp().sum(-2, keepdim=True)).log()
        log = log.log_softmax(-1)
    return log.exp()
