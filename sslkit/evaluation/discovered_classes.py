"""The classes that a run discovered: their images, confidence and agreement with labels."""

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
        assigned: ``[N]`` int64, the class of each image: the greatest logit.
        confidence: ``[N]`` float64, the probability of that class.
        count: K.
        labels: ``[N]`` int64 in 0 to C - 1, or None.
        classes: C, the number of label classes; 0 without labels.
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
        """Assign images by their logits ``[N, K]``; probabilities are softmax(logits / temperature)."""
        confidence = (logits.double() / temperature).softmax(dim=1).max(dim=1).values
        count = classes if labels is not None else 0
        return cls(logits.argmax(dim=1), confidence, logits.shape[1], labels, count)

    @property
    def sizes(self) -> Tensor:
        """``[K]`` int64, number of images in each class."""
        return torch.bincount(self.assigned, minlength=self.count)

    def members(self, index: int) -> Tensor:
        """Return ``[M]`` int64 image indices of a class, most confident first."""
        images = (self.assigned == index).nonzero().flatten()
        return images[self.confidence[images].argsort(descending=True, stable=True)]

    @property
    def table(self) -> Tensor | None:
        """``[K, C]`` int64, number of images of each label in each class; None without labels."""
        return None if self.labels is None else contingency(self.assigned, self.labels, self.count, self.classes)

    def majority(self, index: int) -> tuple[int, float] | None:
        """Return the most frequent label of a class and its share (purity); None without labels or images."""
        members = self.members(index)
        if self.labels is None or not len(members):
            return None
        counts = torch.bincount(self.labels[members], minlength=self.classes)
        return int(counts.argmax()), float(counts.max()) / len(members)

    def scores(self) -> dict[str, Any] | None:
        """Return the agreement with the labels, see ``cluster_scores``; None without labels."""
        if self.labels is None:
            return None
        return cluster_scores(self.assigned, self.labels, self.count, self.classes)
