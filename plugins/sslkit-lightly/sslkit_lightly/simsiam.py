"""The SimSiam and FastSiam losses: a predictor maps embeddings to those of other views, without a teacher."""

from __future__ import annotations

import torch
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules.heads import SimSiamPredictionHead
from pydantic import Field
from torch import Tensor

import sslkit
from sslkit_lightly.prediction import PredictionLoss


class SimSiam(PredictionLoss):
    """SimSiam loss: lightly's ``NegativeCosineSimilarity``, averaged over pairs of a global view and another view.

    The cosine compares the embedding of the global view, without gradient, with the predictor's output for the other
    view. The same network encodes both views. The minimum, -1, is reached if the predictor's output for each view
    points in the same direction as the embeddings of all other global views of the image.

    Source: Chen, He, "Exploring Simple Siamese Representation Learning", CVPR 2021, arXiv 2011.10566, equations 1 to 4.
    """

    predictor_head = SimSiamPredictionHead

    class Options(PredictionLoss.Options):
        predictor_dim: int = Field(512, ge=1, le=100_000)
        """Width of the predictor's hidden layer; the paper uses a quarter of the embedding's dimension."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.similarity = NegativeCosineSimilarity()

    def compare(self, predictions: list[Tensor], views: sslkit.ViewOutputs) -> Tensor:
        targets = views.student.embeddings[: views.global_views]
        losses = [
            self.similarity(prediction, target.detach())
            for i, target in enumerate(targets)
            for j, prediction in enumerate(predictions)
            if i != j
        ]
        return torch.stack(losses).mean()


class FastSiam(SimSiam):
    """FastSiam loss: SimSiam in which the target is the mean embedding of all other global views of the image.

    With two views, the loss equals that of SimSiam. The mean over more views varies less, so small batches suffice.
    lightly uses four views.

    Source: Pototzky, Sultan, Schmidt-Thieme, "FastSiam: Resource-Efficient Self-supervised Learning on a Single GPU",
    GCPR 2022.
    """

    min_global_views = 2

    def compare(self, predictions: list[Tensor], views: sslkit.ViewOutputs) -> Tensor:
        targets = torch.stack(views.student.embeddings[: views.global_views]).detach()
        losses = []
        for j, prediction in enumerate(predictions):
            others = targets if j >= views.global_views else torch.cat([targets[:j], targets[j + 1 :]])
            losses.append(self.similarity(prediction, others.mean(0)))
        return torch.stack(losses).mean()
