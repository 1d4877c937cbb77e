"""The classes a run discovered, class by class: who is in them, how surely, and what they agree with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sslkit.evaluation.metrics import cluster_scores, contingency


@dataclass(frozen=True)
class Discovered:
    """What a classifier of K classes makes of N images.

    Attributes:
        assigned: ``[N]`` int64, each image's class: the greatest of its logits.
        margin: ``[N]`` float32, how far that logit is above the next.  It orders images from the most to the least
            confident without a temperature, which logits alone do not know.
        count: K.
        labels: ``[N]`` int64 in 0..C-1, or None.
        classes: C, how many classes the labels have; 0 without labels.
    """

    assigned: Tensor
    margin: Tensor
    count: int
    labels: Tensor | None = None
    classes: int = 0

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor | None = None, classes: int = 0) -> Discovered:
        """From logits ``[N, K]``, K at least 2."""
        best = logits.float().topk(2, dim=1).values
        count = classes if labels is not None else 0
        return cls(logits.argmax(dim=1), best[:, 0] - best[:, 1], logits.shape[1], labels, count)

    @property
    def sizes(self) -> Tensor:
        """``[K]`` int64, images of each class."""
        return torch.bincount(self.assigned, minlength=self.count)

    def members(self, place: int) -> Tensor:
        """``[M]`` int64, the images of one class, from the most to the least confident."""
        found = (self.assigned == place).nonzero().flatten()
        return found[self.margin[found].argsort(descending=True, stable=True)]

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

    def scores(self) -> dict[str, float | list[int | None]] | None:
        """Agreement with the labels, as ``cluster_scores`` has it; None without labels."""
        if self.labels is None:
            return None
        return cluster_scores(self.assigned, self.labels, self.count, self.classes)
