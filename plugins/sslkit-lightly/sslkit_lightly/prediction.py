"""Base class for losses in which a predictor maps the embedding of a view to that of another view."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from lightly.models.modules.heads import BYOLPredictionHead, ProjectionHead
from pydantic import Field
from torch import Tensor

import sslkit


class PredictionLoss(sslkit.Loss):
    """Base class for losses that apply a predictor to the embeddings of the student.

    The predictor has a linear layer, BatchNorm, ReLU and a second linear layer. It is part of the loss and is trained.
    BatchNorm is computed separately for each view, over this process's part of the batch.

    Attributes:
        predictor_head: lightly's class for the predictor.
    """

    api = 2
    needs = frozenset({"embeddings"})
    min_views = 2
    uses_global_batch = False
    predictor_head: ClassVar[type[ProjectionHead]] = BYOLPredictionHead

    class Options(sslkit.Options):
        predictor_dim: int = Field(4096, ge=1, le=100_000)
        """Width of the predictor's hidden layer."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        width = context.embedding_dim
        self.predictor = self.predictor_head(width, options.predictor_dim, width)

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        """Return the loss of this process's part of the batch; for shapes see ``sslkit.ViewOutputs``."""
        predictions = [self.predictor(embedding) for embedding in views.student.embeddings]
        return sslkit.LossOutput(self.compare(predictions, views))

    @abstractmethod
    def compare(self, predictions: list[Tensor], views: sslkit.ViewOutputs) -> Tensor:
        """Return the loss; ``predictions`` has the predictor's output ``[B, E]`` for each view of the student."""
