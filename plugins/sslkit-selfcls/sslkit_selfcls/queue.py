"""Nearest neighbours from a queue of past embeddings, as positives."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import sslkit


class NeighbourQueue(nn.Module):
    """The last ``size`` embeddings of the first view over all processes.

    As in the Self-Classifier authors' published training loop: once the queue is full, the first view's logits, as
    target and as prediction, become those of the most similar embedding in the queue that is not of the same image.
    No gradient reaches the embedding; the classifiers are trained on both.

    Args:
        size: embeddings kept, at least the global batch.
        context: of the loss.

    Raises:
        sslkit.OptionError: for ``queue_size``, where the queue is shorter than the global batch or the head has no
            embedding.
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
        """Logits ``[B, K]`` of each classifier for the first view; then, in training, the view enters the queue."""
        student = views.student
        if student.classify is None:
            raise sslkit.InputError("queue_size: the method gives no classifier for the queue's embeddings")
        embedding = student.embeddings[0].detach()
        logits = tuple(own[0] for own in student.logits)
        if self.queue.full:
            logits = student.classify(self._nearest(embedding, views.index))
        if self.training:
            self.queue.push(embedding, views.index)
        return logits

    def _nearest(self, embedding: Tensor, index: Tensor) -> Tensor:
        """The queue's most similar embedding ``[B, E]`` of another image."""
        similarity = embedding.to(self.queue.rows.dtype) @ self.queue.rows.T
        similarity = similarity.masked_fill_(index[:, None] == self.queue.index, -torch.inf)
        return self.queue.rows[similarity.argmax(1)]
