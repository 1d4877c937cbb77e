"""The classes a run discovered, class by class: who is in them, how surely, and what they agree with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sslkit.evaluation.clustering_metrics import cluster_scores, contingency


@dataclass(frozen=True)
class DiscoveredClasses:
    """What a classifier of K classes makes of N images.

    Attributes:
        assigned: ``[N]`` int64, each image's class: the greatest of its logits.
        confidence: ``[N]`` float64, that class's probability.
        count: K.
        labels: ``[N]`` int64 in 0..C-1, or None.
        classes: C, how many classes the labels have; 0 without labels.
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
        """From logits ``[N, K]``; probabilities are softmax(logits / temperature)."""
        confidence = (logits.double() / temperature).softmax(dim=1).max(dim=1).values
        count = classes if labels is not None else 0
        return cls(logits.argmax(dim=1), confidence, logits.shape[1], labels, count)

    @property
    def sizes(self) -> Tensor:
        """``[K]`` int64, images of each class."""
        return torch.bincount(self.assigned, minlength=self.count)

    def members(self, place: int) -> Tensor:
        """``[M]`` int64, the images of one class, from the most to the least confident."""
        found = (self.assigned == place).nonzero().flatten()
        return found[self.confidence[found].argsort(descending=True, stable=True)]

    @property
    def table(self) -> Tensor | None:
        """``[K, C]`` int64, images of each label in each class; None without labels."""
        return None if self.labels is None else contingency(self.assigned, self.labels, self.count, self.classes)

    def majority(self, place: int) -> tuple[int, float] | None:
        """The commonest label of a class, and its share (purity); None without labels or images."""
        members = self.members(place)
        if self.labels is None or not len(members):
            return None
        counts = torch.bincount(self.labels[members], minlength=self.classes)
        return int(counts.argmax()), float(counts.max()) / len(members)

    def scores(self) -> dict[str, Any] | None:
        """Agreement with the labels, as ``cluster_scores`` has it; None without labels."""
        if self.labels is None:
            return None
        return cluster_scores(self.assigned, self.labels, self.count, self.classes)
