"""The MoCo losses: the student's embedding of a view must identify the teacher's embedding of another view."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

import sslkit
from sslkit_lightly.prediction import PredictionLoss


def random_queue(size: int, context: sslkit.Context) -> sslkit.Queue:
    """Return a queue of ``size`` embeddings that starts with random unit vectors, as in lightly's memory bank.

    The vectors depend only on the run's seed, so all processes start with the same queue.

    Raises:
        sslkit.OptionError: the queue is smaller than the global batch.
    """
    if size < context.batch_size:
        raise sslkit.OptionError("queue_size", f"{size} is less than the batch size {context.batch_size}")
    queue = sslkit.Queue(size, (context.embedding_dim,), context.world)
    generator = sslkit.seeded_generator(context.seed, "losses")
    queue.rows.copy_(normalize(torch.randn(size, context.embedding_dim, generator=generator)))
    return queue


class Moco(sslkit.Loss):
    """MoCo loss, versions 1 and 2: InfoNCE with negatives from a queue of the teacher's past embeddings.

    The positive of a view is the teacher's embedding of a global view of the same image, other than the view itself.
    The loss equals lightly's ``NTXentLoss`` with a memory bank, averaged over all such pairs; the paper compares one
    pair of views. The teacher's embeddings of all global views enter the queue after the loss is computed. The queue
    starts with random unit vectors, as in lightly and in the authors' code.

    Version 2 differs from version 1 in its head, views and temperature (0.07 in version 1). Unlike in the paper, images
    are not shuffled between processes before the teacher's BatchNorm.

    Sources: He et al., "Momentum Contrast for Unsupervised Visual Representation Learning", CVPR 2020, arXiv
    1911.05722, equation 1; Chen et al., "Improved Baselines with Momentum Contrastive Learning", arXiv 2003.04297.

    Raises:
        sslkit.OptionError: the queue is smaller than the global batch.
    """

    api = 2
    needs = frozenset({"embeddings", "teacher"})
    min_views = 2

    class Options(sslkit.Options):
        temperature: float = Field(0.2, gt=0)
        """Temperature of the softmax over similarities; the value of MoCo v2."""

        queue_size: int = Field(65_536, ge=1, le=10_000_000)
        """Number of past embeddings that are negatives; 4096 is usual for CIFAR."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.temperature = options.temperature
        self.queue = random_queue(options.queue_size, context)

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        """Return the loss of this process's part of the batch; for shapes see ``sslkit.ViewOutputs``."""
        queries = [normalize(embedding) for embedding in views.student.embeddings]
        keys = [normalize(embedding.detach()) for embedding in views.teacher.embeddings]
        # A copy, because pushing changes the rows before the backward pass reads them.
        negatives = self.queue.rows.T.to(queries[0].dtype, copy=True)
        losses = [
            self._info_nce(query, key, negatives)
            for i, key in enumerate(keys)
            for j, query in enumerate(queries)
            if i != j
        ]
        if self.training:
            for key in keys:
                self.queue.push(key, views.index)
        return sslkit.LossOutput(torch.stack(losses).mean())

    def _info_nce(self, query: Tensor, key: Tensor, negatives: Tensor) -> Tensor:
        """Return the loss of queries and keys ``[B, E]`` with Q negatives ``[E, Q]``."""
        logits = torch.cat([(query * key).sum(1, keepdim=True), query @ negatives], dim=1) / self.temperature
        return cross_entropy(logits, torch.zeros(len(query), dtype=torch.long, device=query.device))


class MocoV3(PredictionLoss):
    """MoCo v3 loss: InfoNCE on predictions, with the teacher's embeddings of the other images as negatives.

    The predictor's output for a view must identify the teacher's embedding of a global view of the same image, other
    than the view itself, among those of the global batch. As in the paper, the cross-entropy is multiplied by twice the
    temperature. The result is averaged over all such pairs; the paper adds the terms of two pairs. lightly has no loss
    of this kind.

    Source: Chen, Xie, He, "An Empirical Study of Training Self-Supervised Vision Transformers", ICCV 2021, arXiv
    2104.02057, equation 1 and algorithm 1.
    """

    needs = frozenset({"embeddings", "teacher"})

    class Options(PredictionLoss.Options):
        temperature: float = Field(1.0, gt=0)
        """Temperature of the softmax over similarities: 1 for ResNet in the authors' code, 0.2 for transformers."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.temperature = options.temperature
        self.world = context.world

    def compare(self, predictions: list[Tensor], views: sslkit.ViewOutputs) -> Tensor:
        keys = [self.world.gather(normalize(embedding.detach())) for embedding in views.teacher.embeddings]
        queries = [normalize(prediction) for prediction in predictions]
        size = len(queries[0])
        positive = torch.arange(size, device=queries[0].device) + self.world.rank * size
        losses = [
            cross_entropy(query @ key.T / self.temperature, positive)
            for i, key in enumerate(keys)
            for j, query in enumerate(queries)
            if i != j
        ]
        return 2 * self.temperature * torch.stack(losses).mean()
