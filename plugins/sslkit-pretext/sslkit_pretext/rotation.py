"""Rotation: predict by how many quarter turns an image is rotated."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import sslkit


class Rotation(sslkit.Method):
    """Classification of each global view by its rotation: 0, 90, 180 or 270 degrees.

    Every view is used with all four rotations, so a step encodes four times as many images as there are global views.
    A linear classifier predicts the rotation from the feature. Only views of the largest size are used.

    Source: Gidaris, Singh, Komodakis, "Unsupervised Representation Learning by Predicting Image Rotations", ICLR 2018,
    arXiv 1803.07728, equations 1 and 2.
    """

    api = 2
    own_objective = True
    needs = frozenset({"images"})

    def __init__(self, options: sslkit.NoOptions, context: sslkit.Context, parts: sslkit.Parts) -> None:
        super().__init__(options, context, parts)
        self.classifier = nn.Linear(context.feature_dim, 4)

    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        """Return the cross-entropy, and log the accuracy, of the predicted rotations."""
        views = batch.global_groups[0].flatten(0, 1)
        turned = torch.cat([views.rot90(turns, (2, 3)) for turns in range(4)])
        target = torch.arange(4, device=turned.device).repeat_interleave(len(views))
        logits = self.classifier(self.backbone(turned)).float()
        accuracy = (logits.detach().argmax(1) == target).float().mean()
        return sslkit.MethodOutput(cross_entropy(logits, target), {"accuracy": accuracy})
