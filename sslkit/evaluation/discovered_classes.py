"""Assign images to the classes that a run discovered, and compare these classes with labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sslkit.evaluation.clustering_metrics import cluster_scores, contingency


@dataclass(frozen=True)
class DiscoveredClasses:
    """Assignment of N images to the K classes of a classifier.

    Attributes:
        assigned: int64 tensor ``[N]``, the discovered class of each image (index of the largest logit); negative for
            images without a class, which a user marked as outliers or ignored.
        confidence: float64 tensor ``[N]``, the probability of this class.
        count: number of discovered classes K.
        labels: int64 tensor ``[N]`` with values from 0 to C - 1, or None if there are no labels.
        classes: number of label classes C; 0 if there are no labels.
    """

    assigned: Tensor
    confidence: Tensor
    count: int
    labels: Tensor | None = None
    classes: int = 0

    @classmethod
    def from_logits(
        cls, logits: Tensor, labels: Tensor | None = None, classes: int = 0, temperature: float = 1.0
    ) -> DiscoveredClasses:
        """Return the classes of images with logits ``[N, K]``; probabilities are softmax(logits / temperature).

        ``classes`` is the number of label classes; it is ignored without ``labels`` ``[N]``.
        """
        confidence = (logits.double() / temperature).softmax(dim=1).max(dim=1).values
        count = classes if labels is not None else 0
        return cls(logits.argmax(dim=1), confidence, logits.shape[1], labels, count)

    @property
    def sizes(self) -> Tensor:
        """Number of images in each discovered class, int64 ``[K]``."""
        return torch.bincount(self.assigned[self.assigned >= 0], minlength=self.count)

    def members(self, index: int) -> Tensor:
        """Return the indices of the images of a discovered class, most confident first, as int64 ``[M]``."""
        images = (self.assigned == index).nonzero().flatten()
        return images[self.confidence[images].argsort(descending=True, stable=True)]

    @property
    def table(self) -> Tensor | None:
        """Number of images in each discovered class with each label, int64 ``[K, C]``, or None without labels."""
        kept = self.assigned >= 0
        if self.labels is None or not bool(kept.any()):
            return None
        return contingency(self.assigned[kept], self.labels[kept], self.count, self.classes)

    def majority(self, index: int) -> tuple[int, float] | None:
        """Return a discovered class's most frequent label and its share, or None if there are no labels or images."""
        members = self.members(index)
        if self.labels is None or not len(members):
            return None
        counts = torch.bincount(self.labels[members], minlength=self.classes)
        return int(counts.argmax()), float(counts.max()) / len(members)

    def scores(self) -> dict[str, Any] | None:
        """Return the ``cluster_scores`` of images with a class, or None if there are no labels or no such images."""
        kept = self.assigned >= 0
        if self.labels is None or not bool(kept.any()):
            return None
        return cluster_scores(self.assigned[kept], self.labels[kept], self.count, self.classes)
