"""Nearest neighbours from a queue of past embeddings, as positives."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import sslkit


class NeighbourQueue(nn.Module):
    """The last ``size`` embeddings of the first view over all processes, oldest replaced first.

    As in the Self-Classifier authors' published training loop: once the queue is full, the first view's logits, as
    target and as prediction, become those of the most similar embedding in the queue that is not of the same image.
    No gradient reaches the embedding; the classifiers are trained on both.  The queue is the same on every process
    and is saved with the loss.

    Args:
        size: embeddings kept, at least the global batch.
        context: of the loss.

    Raises:
        sslkit.OptionError: for ``queue_size``, where the queue is shorter than the global batch or the head has no
            embedding.
    """

    embeddings: Tensor
    index: Tensor
    position: Tensor

    def __init__(self, size: int, context: sslkit.Context) -> None:
        super().__init__()
        if size < context.batch_size:
            raise sslkit.OptionError(
                "queue_size", f"{size} is less than the batch size {context.batch_size}; use 0 for no queue"
            )
        if not context.embedding_dim:
            raise sslkit.OptionError("queue_size", "needs a head with embeddings; use 0 for no queue")
        self.world = context.world
        self.register_buffer("embeddings", torch.zeros(size, context.embedding_dim))
        self.register_buffer("index", torch.full((size,), -1))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    def substitute(self, views: sslkit.ViewOutputs) -> tuple[Tensor, ...]:
        """Logits ``[B, K]`` of each classifier for the first view; then, in training, the view enters the queue."""
        student = views.student
        if student.classify is None:
            raise sslkit.InputError("queue_size: the method gives no classifier for the queue's embeddings")
        embedding = student.embeddings[0].detach().to(self.embeddings.dtype)
        # Decided on the device: asking the host would make it wait.
        full = self.index[-1] >= 0
        logits = tuple(
            torch.where(full, neighbour, own[0])
            for neighbour, own in zip(
                student.classify(self._nearest(embedding, views.index)), student.logits, strict=True
            )
        )
        if self.training:
            self._push(embedding, views.index)
        return logits

    def _nearest(self, embedding: Tensor, index: Tensor) -> Tensor:
        """The queue's most similar embedding ``[B, E]`` of another image."""
        similarity = embedding @ self.embeddings.T
        similarity = similarity.masked_fill_(index[:, None] == self.index, -torch.inf)
        return self.embeddings[similarity.argmax(1)]

    @torch.no_grad()
    def _push(self, embedding: Tensor, index: Tensor) -> None:
        embedding, index = self.world.gather(embedding), self.world.gather(index)
        size = len(self.index)
        places = (self.position + torch.arange(len(index), device=index.device)) % size
        self.embeddings.index_copy_(0, places, embedding)
        self.index.index_copy_(0, places, index)
        self.position.add_(len(index)).remainder_(size)
