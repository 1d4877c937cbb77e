"""The NNCLR loss: positives are nearest neighbours among past embeddings."""

from __future__ import annotations

import torch
from lightly.models.modules.heads import NNCLRPredictionHead
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

import sslkit
from sslkit_lightly.moco import random_queue
from sslkit_lightly.pairwise import nt_xent
from sslkit_lightly.prediction import PredictionLoss


class Nnclr(PredictionLoss):
    """NT-Xent loss in which one embedding of each pair is replaced by its nearest neighbour among past embeddings.

    The nearest neighbour of a global view's embedding is compared with the predictor's output for another view. The
    loss is averaged over all such pairs and equals lightly's ``NTXentLoss`` with ``NNMemoryBankModule``: negatives are
    predictions and neighbours of other images in the global batch. In the paper, negatives are predictions only. The
    first view's embeddings enter the queue after the loss is computed. The queue starts with random unit vectors.

    Source: Dwibedi et al., "With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning of Visual
    Representations", ICCV 2021, arXiv 2104.14548, section 3.

    Raises:
        sslkit.OptionError: the queue is smaller than the global batch.
    """

    predictor_head = NNCLRPredictionHead

    class Options(PredictionLoss.Options):
        temperature: float = Field(0.1, gt=0)
        """Temperature of the softmax over similarities."""

        queue_size: int = Field(98_304, ge=1, le=10_000_000)
        """Number of past embeddings (the support set); 4096 or more for small data sets."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.temperature = options.temperature
        self.world = context.world
        self.queue = random_queue(options.queue_size, context)

    def compare(self, predictions: list[Tensor], views: sslkit.ViewOutputs) -> Tensor:
        embeddings = [normalize(embedding.detach()) for embedding in views.student.embeddings[: views.global_views]]
        neighbours = [self.world.gather(self.nearest(embedding)) for embedding in embeddings]
        gathered = [self.world.gather(prediction) for prediction in predictions]
        losses = [
            nt_xent(neighbour, prediction, self.temperature)
            for i, neighbour in enumerate(neighbours)
            for j, prediction in enumerate(gathered)
            if i != j
        ]
        if self.training:
            self.queue.push(embeddings[0], views.index)
        return torch.stack(losses).mean()

    @torch.no_grad()
    def nearest(self, embedding: Tensor) -> Tensor:
        """Return, as a tensor ``[B, E]``, the row of the queue that is nearest to each unit embedding ``[B, E]``."""
        rows = self.queue.rows.to(embedding.dtype)
        return rows.index_select(0, (embedding @ rows.T).argmax(1))
