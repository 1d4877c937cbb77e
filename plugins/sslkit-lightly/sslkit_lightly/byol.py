"""The BYOL loss: a predictor maps the student's embedding of a view to the teacher's embedding of another view."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

import sslkit
from sslkit_lightly.prediction import PredictionLoss


class Byol(PredictionLoss):
    """BYOL loss: the mean of ``2 - 2 cos`` over all pairs of a global view and another view.

    The cosine compares the teacher's embedding of the global view with the predictor's output for the student's
    embedding of the other view.

    Source: Grill et al., "Bootstrap your own latent", NeurIPS 2020, arXiv 2006.07733, equation 2.
    """

    needs = frozenset({"embeddings", "teacher"})

    def compare(self, predictions: list[Tensor], views: sslkit.ViewOutputs) -> Tensor:
        cosines = [
            cosine_similarity(prediction, target.detach()).mean()
            for i, target in enumerate(views.teacher.embeddings)
            for j, prediction in enumerate(predictions)
            if i != j
        ]
        return 2 - 2 * torch.stack(cosines).mean()
