"""The SwAV loss: each view predicts the prototypes to which the other global views are assigned.

Source: Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments", NeurIPS 2020,
arXiv 2006.09882, equations 1 to 5.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable

import torch
from pydantic import Field
from torch import Tensor, nn

import sslkit
from sslkit_lightly.duration import Duration


class SwavLoss(sslkit.Loss):
    """Swapped prediction: cross-entropy between the assignment of a global view and the softmax of another view.

    The loss is averaged over images, pairs of a global view and another view, and sets of prototypes. It equals
    lightly's ``SwaVLoss`` if lightly's loss is finite. ``sinkhorn`` computes assignments over the global batch, without
    gradient. With K prototypes, a loss that stays at ``ln K`` means collapse.

    When the queue is full, assignments of a global view are computed over the batch and past embeddings of the same
    view. Prototypes can then have equal shares even if a batch has fewer images than prototypes (section 4.2 of the
    paper). Only the assignments of the batch are targets. As in the authors' code, the queue is shortened to a
    multiple of the global batch size.

    Warns:
        UserWarning: the queue is shortened.

    Raises:
        sslkit.OptionError: the queue is smaller than the global batch, or the head has no embedding.
    """

    api = 2
    needs = frozenset({"logits"})
    min_views = 2

    class Options(sslkit.Options):
        temperature: float = Field(0.1, gt=0)
        """Temperature of the softmax in predictions."""

        sinkhorn_epsilon: float = Field(0.05, gt=0)
        """Smoothness of assignments; a smaller value makes assignments sharper."""

        sinkhorn_iterations: int = Field(3, ge=1, le=1000)
        """Number of Sinkhorn iterations; each normalises prototypes, then images."""

        queue_size: int = Field(0, ge=0, le=10_000_000)
        """Number of past embeddings in the queue of each global view, rounded down to whole batches; 0: no queue."""

        queue_start: sslkit.Duration = "0 epochs"
        """Duration after which the queue starts to be filled, such as "15 epochs", "300 steps" or "15%"."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.options = options
        self.logit_temperature = options.temperature
        self.world = context.world
        self.queue_delay = Duration(options.queue_start, context)
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
        # The buffers have queue_size rows, so that a checkpoint also fits with a different batch size.
        self.queue_length = options.queue_size - options.queue_size % context.batch_size
        if self.queue_length < options.queue_size:
            warnings.warn(
                f"queue_size = {options.queue_size} is not a multiple of the batch size {context.batch_size}: "
                f"the queue has {self.queue_length} embeddings, as in the authors' code",
                UserWarning,
                stacklevel=2,
            )

    def phase(self, step: int) -> Hashable:
        """Return the phase of training in step ``step``: whether embeddings are queued, and whether queues are full."""
        return self.queue_delay.is_over(step), self._queues_are_full()

    def _queues_are_full(self) -> bool:
        return bool(self.queues) and all(queue.pushed >= self.queue_length for queue in self.queues)

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        """Return the loss of this process's part of the batch; for shapes see ``sslkit.ViewOutputs``."""
        past = self._queue_logits(views)
        losses = [
            self._swapped_prediction(torch.stack(logits), queued, views.global_views)
            for logits, queued in zip(views.student.logits, past, strict=True)
        ]
        if self.training and self.queue_delay.is_over(views.step):
            for queue, embedding in zip(self.queues, views.student.embeddings, strict=False):
                queue.push(embedding, views.index)
        return sslkit.LossOutput(
            total=torch.stack(losses).mean(), per_classifier=tuple(loss.detach() for loss in losses)
        )

    @torch.no_grad()
    def _queue_logits(self, views: sslkit.ViewOutputs) -> list[Tensor | None]:
        """Return, for each set of prototypes, the logits ``[G, Q, K]`` of the Q rows of each of the G queues.

        There is one queue for each global view, with the same rows in all processes. Until the queues are full, the
        values are None.
        """
        student = views.student
        if not self._queues_are_full():
            return [None] * len(student.logits)
        if student.classify is None:
            raise sslkit.InputError("queue_size: the method does not set BranchOutputs.classify, which a queue needs")
        by_view = [student.classify(queue.newest(self.queue_length)) for queue in self.queues]
        return [torch.stack(logits) for logits in zip(*by_view, strict=True)]

    def _swapped_prediction(self, logits: Tensor, past: Tensor | None, global_views: int) -> Tensor:
        """Return the loss of a set of prototypes from logits ``[V, B, K]`` and queue logits ``past`` ``[G, Q, K]``."""
        options = self.options
        # Every process computes all assignments, because sums over processes would need two collectives per iteration.
        targets = self.world.gather(logits[:global_views].detach().transpose(0, 1)).transpose(0, 1)
        if past is not None:
            targets = torch.cat([targets, past], dim=1)
        start = self.world.rank * logits.shape[1]
        assignments = sinkhorn(targets, options.sinkhorn_epsilon, options.sinkhorn_iterations)
        assignments = assignments[:, start : start + logits.shape[1]]
        predictions = (logits / options.temperature).log_softmax(2)
        others = predictions.sum(0) - predictions[:global_views]
        return -(assignments * others).sum(2).mean() / (len(logits) - 1)


@torch.no_grad()
def sinkhorn(logits: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Assign images softly to prototypes, so that prototypes have equal shares (arXiv 2006.09882, equation 3).

    The Sinkhorn-Knopp iterations use logarithms, because ``exp(logits / epsilon)`` can overflow or become 0 if epsilon
    is small.

    Args:
        logits: logits ``[..., N, K]`` of all images that are assigned together.
        epsilon: smoothness, above 0; a larger value gives softer assignments.
        iterations: number of iterations, at least 1. Each normalises prototypes, then images.

    Returns:
        Weights ``[..., N, K]``. The weights of an image sum to 1. With more iterations, the sum of the weights of a
        prototype converges to N / K.
    """
    log = logits / epsilon
    for _ in range(iterations):
        log = log.log_softmax(-2).log_softmax(-1)
    return log.exp()
