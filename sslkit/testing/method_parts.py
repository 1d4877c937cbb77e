"""Small backbone, head and loss for the tests of methods."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.head import Head
from sslkit.contracts.loss import Loss, LossOutput, ViewOutputs


class SmallBackbone(Backbone):
    """Backbone with one convolution, BatchNorm and ReLU; features are ``[B, 12]``."""

    api = 1
    feature_dim = 12

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.layers = nn.Sequential(nn.Conv2d(3, 12, 8, 8), nn.BatchNorm2d(12), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images).mean((2, 3))
        return features

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        return {8: self.layers(images)}


class SmallHead(Head):
    """Head with one linear layer and one classifier of five classes; embeddings are ``[B, 6]``."""

    api = 1
    embedding_dim = 6
    classifiers = (5,)

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.projection = nn.Linear(12, 6)
        self.prototypes = nn.Linear(6, 5, bias=False)

    def embed(self, features: Tensor) -> Tensor:
        return normalize(self.projection(features))

    def classify(self, embedding: Tensor) -> tuple[Tensor, ...]:
        return (self.prototypes(embedding),)


class RecordingLoss(Loss):
    """Loss that records its inputs and returns the distance between views plus the entropy of class probabilities."""

    api = 1
    needs = frozenset({"embeddings", "logits"})

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.inputs: list[ViewOutputs] = []

    def forward(self, views: ViewOutputs) -> LossOutput:
        self.inputs.append(views)
        embeddings, (logits,) = views.student.embeddings, views.student.logits
        distances = [(embeddings[i] - embeddings[j]).square().sum(1).mean() for i, j in views.pairs()]
        distance = torch.stack(distances).mean()
        entropy = torch.stack([-(view.softmax(1) * view.log_softmax(1)).sum(1).mean() for view in logits]).mean()
        return LossOutput(distance + entropy, {"distance": distance})
