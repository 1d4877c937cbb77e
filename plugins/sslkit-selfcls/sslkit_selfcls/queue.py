"""Queue of past embeddings, from which nearest neighbours are taken as positives."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import sslkit


class NeighbourQueue(nn.Module):
    """Queue of the newest ``size`` embeddings of the first view, from all processes.

    When the queue is full, the logits of the first view are replaced by those of the most similar queued embedding of
    another image, both in targets and in predictions. The replacement follows the training code of the
    Self-Classifier authors. The gradient trains the classifiers, but not the queued embeddings.

    Args:
        size: number of embeddings, at least the global batch size.
        context: the context of the loss.

    Raises:
        sslkit.OptionError: ``queue_size`` is less than the global batch size, or the head has no embedding.
    """

    def __init__(self, size: int, context: sslkit.Context) -> None:
        super().__init__()
        if size < context.batch_size:
            raise sslkit.OptionError(
                "queue_size", f"{size} is less than the batch size {context.batch_size}; use 0 for no queue"
            )
        if not context.embedding_dim:
            raise sslkit.OptionError("queue_size", "needs a head with embeddings; use 0 for no queue")
        self.queue = sslkit.Queue(size, (context.embedding_dim,), context.world)

    def substitute(self, views: sslkit.ViewOutputs) -> tuple[Tensor, ...]:
        """Return each classifier's logits ``[B, K]`` of the first view, or of its nearest neighbours in a full queue.

        In training, the embeddings of the first view are added to the queue afterwards.
        """
        student = views.student
        if student.classify is None:
            raise sslkit.InputError("queue_size: the method does not set BranchOutputs.classify, which a queue needs")
        embedding = student.embeddings[0].detach()
        logits = tuple(per_view[0] for per_view in student.logits)
        if self.queue.full:
            logits = student.classify(self._nearest(embedding, views.index))
        if self.training:
            self.queue.push(embedding, views.index)
        return logits

    def _nearest(self, embedding: Tensor, index: Tensor) -> Tensor:
        """Return, for each embedding, the most similar queued embedding of another image, as a tensor ``[B, E]``."""
        similarity = embedding.to(self.queue.rows.dtype) @ self.queue.rows.T
        similarity = similarity.masked_fill_(index[:, None] == self.queue.index, -torch.inf)
        return self.queue.rows[similarity.argmax(1)]
