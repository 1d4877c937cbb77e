"""The BYOL loss: a predictor on the student's embeddings regresses the teacher's."""

from __future__ import annotations

import torch
from lightly.models.modules.heads import BYOLPredictionHead
from pydantic import Field
from torch.nn.functional import cosine_similarity

import sslkit


class Byol(sslkit.Loss):
    """The mean, over pairs of a global view that the teacher sees and another view, of ``2 - 2 cos``.

    The cosine is between the prediction from the student's embedding of one view and the teacher's embedding of the
    other.  The predictor belongs to the loss and is trained with it; its BatchNorm sees one view of this process's part
    of the batch at a time.

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
            raise sslkit.InputError("the byol loss compares views: it needs at least two views of each image")
        width = context.embedding_dim
        self.predictor = BYOLPredictionHead(width, options.predictor_dim, width)

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        """The loss of this process's part of the batch; shapes as ``sslkit.ViewOutputs`` states them."""
        predictions = [self.predictor(embedding) for embedding in views.student.embeddings]
        cosines = [
            cosine_similarity(prediction, target.detach()).mean()
            for i, target in enumerate(views.teacher.embeddings)
            for j, prediction in enumerate(predictions)
            if i != j
        ]
        return sslkit.LossOutput(2 - 2 * torch.stack(cosines).mean())
