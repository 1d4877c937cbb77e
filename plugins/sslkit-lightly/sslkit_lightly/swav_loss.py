"""The SwAV loss: each view predicts the prototypes that global views are assigned to.

Source: Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments", NeurIPS 2020,
arXiv 2006.09882, equations 1 to 5.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

import sslkit
from sslkit_lightly.period import PERIOD, steps


class SwavLoss(sslkit.Loss):
    """Swapped prediction: cross-entropy of a global view's assignment and every other view's softmax.

    The loss is averaged over images, over pairs of a global view and another view, and over sets of prototypes.  It
    equals lightly's ``SwaVLoss`` where that is finite.  Assignments are made by ``sinkhorn`` over the global batch
    and carry no gradient.  A loss that stays at ``ln K`` means collapse.

    With a queue, once it is full, the assignments of a global view are made over the batch and over the past
    embeddings of the same view, which makes equal shares possible where a batch is smaller than the prototypes are
    many (section 4.2 of the paper).  Only the batch's own assignments are predicted.

    Raises:
        sslkit.InputError: there are fewer than two views.
        sslkit.OptionError: the queue is shorter than the global batch, or the head has no embedding.
    """

    api = 1
    needs = frozenset({"logits"})

    class Options(sslkit.Options):
        temperature: float = Field(0.1, gt=0)
        """Temperature of the predictions' softmax."""

        sinkhorn_epsilon: float = Field(0.05, gt=0)
        """Smoothness of assignments: smaller is sharper."""

        sinkhorn_iterations: int = Field(3, ge=1, le=1000)
        """Times that prototypes, then images, are made to weigh alike."""

        queue_size: int = Field(0, ge=0, le=10_000_000)
        """Past embeddings of each global view that share in the assignments; 0: no queue."""

        queue_start: str = Field("0 epochs", pattern=PERIOD)
        """When the queue begins to fill: after so many epochs or steps, such as "15 epochs"."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        if context.view_count == 1:
            raise sslkit.InputError("the swav loss compares views: it needs at least two views of each image")
        self.options = options
        self.logit_temperature = options.temperature
        self.world = context.world
        self.queue_start = steps(options.queue_start, context.steps_per_epoch)
        if options.queue_size and options.queue_size < context.batch_size:
            raise sslkit.OptionError(
                "queue_size",
                f"{options.queue_size} is less than the batch size {context.batch_size}; use 0 for no queue",
            )
        if options.queue_size and not context.embedding_dim:
            raise sslkit.OptionError("queue_size", "needs a head with embeddings; use 0 for no queue")
        self.queues = [
            sslkit.Queue(options.queue_size, (context.embedding_dim,), context.world)
            for _ in range(context.global_view_count if options.queue_size else 0)
        ]
        self.queue_modules = nn.ModuleList(self.queues)

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        """The loss of this process's part of the batch; shapes as ``sslkit.ViewOutputs`` states them."""
        past = self._past(views)
        losses = [
            self._swap(torch.stack(logits), own, views.global_views)
            for logits, own in zip(views.student.logits, past, strict=True)
        ]
        if self.training and views.step >= self.queue_start:
            for queue, embedding in zip(self.queues, views.student.embeddings, strict=False):
                queue.push(embedding, views.index)
        return sslkit.LossOutput(
            total=torch.stack(losses).mean(), per_classifier=tuple(loss.detach() for loss in losses)
        )

    @torch.no_grad()
    def _past(self, views: sslkit.ViewOutputs) -> list[Tensor | None]:
        """For each set of prototypes, logits ``[G, Q, K]`` of this process's share of the full queues."""
        student = views.student
        if not self.queues or not all(queue.full for queue in self.queues):
            return [None] * len(student.logits)
        if student.classify is None:
            raise sslkit.InputError("queue_size: the method gives no classifier for the queue's embeddings")
        # Every process holds the whole queue; each puts in its own share, so that the sums count each image once.
        shares = [queue.rows[self.world.rank :: self.world.size] for queue in self.queues]
        by_view = [student.classify(share) for share in shares]
        return [torch.stack(logits) for logits in zip(*by_view, strict=True)]

    def _swap(self, logits: Tensor, past: Tensor | None, global_views: int) -> Tensor:
        """The loss of one set of prototypes, from logits ``[V, B, K]`` and those of the queue ``[G, Q, K]``."""
        options = self.options
        assigned = logits[:global_views] if past is None else torch.cat([logits[:global_views], past], dim=1)
        codes = sinkhorn(assigned, options.sinkhorn_epsilon, options.sinkhorn_iterations, world=self.world)
        codes = codes[:, : logits.shape[1]]
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
