"""The BYOL loss: a predictor maps the student's embeddings to the teacher's embeddings."""

from __future__ import annotations

import torch
from lightly.models.modules.heads import BYOLPredictionHead
from pydantic import Field
from torch.nn.functional import cosine_similarity

import sslkit


class Byol(sslkit.Loss):
    """BYOL loss: the mean of ``2 - 2 cos`` over all pairs of a global view and another view.

    The cosine compares the teacher's embedding of the global view with the predictor's output for the student's
    embedding of the other view. The predictor is part of the loss and is trained. The predictor's BatchNorm is computed
    separately for each view, over this process's part of the batch.

    Source: Grill et al., "Bootstrap your own latent", NeurIPS 2020, arXiv 2006.07733, equation 2.

    Raises:
        sslkit.InputError: there are fewer than two views.
    """

    api = 1
    needs = frozenset({"embeddings", "teacher"})
    uses_global_batch = False

    class Options(sslkit.Options):
        predictor_dim: int = Field(4096, ge=1, le=100_000)
        """Width of the predictor's hidden layer."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        if context.view_count == 1:
            raise sslkit.InputError("the byol loss compares views and needs at least two views of each image")
        width = context.embedding_dim
        self.predictor = BYOLPredictionHead(width, options.predictor_dim, width)

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        """Return the loss of this process's part of the batch; for shapes see ``sslkit.ViewOutputs``."""
        predictions = [self.predictor(embedding) for embedding in views.student.embeddings]
        cosines = [
            cosine_similarity(prediction, target.detach()).mean()
            for i, target in enumerate(views.teacher.embeddings)
            for j, prediction in enumerate(predictions)
            if i != j
        ]
        return sslkit.LossOutput(2 - 2 * torch.stack(cosines).mean())
