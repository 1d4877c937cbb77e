"""Images of a split, with the features and the discovered classes that a run's network computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sslkit.contracts.dataset import Split
from sslkit.contracts.evaluator import IGNORED, CorrectedClasses
from sslkit.data.splits import evenly_spaced_indices
from sslkit.evaluation.discovered_classes import DiscoveredClasses
from sslkit.reporting.escape import escape_controls
from sslkit.reporting.image_plan import LARGEST, ImagePlan
from sslkit.reporting.original_images import OriginalImages
from sslkit.reporting.thumbnails import data_uri

QUERIES = 12
"""Number of query images whose nearest neighbours are shown."""

NEIGHBOURS = 8
"""Number of nearest neighbours that are shown for each query image."""

PIXELATED_SIZE = 32
"""Images whose longest side has at most this many pixels are enlarged without smoothing."""


@dataclass(frozen=True)
class EncodedSplit:
    """Images of a split, their features and their discovered classes.

    Attributes:
        name: name of the split, ``test`` or ``train``.
        split: images, with labels if the data set has labels.
        features: ``[N, D]`` float32.
        class_names: names of the labels, in label order.
        discovered: discovered classes, or None if the run has no classifier.
        corrections: classes after corrections and merges by a user, or None if there are none.
        plan: number and size of the images on the page.
        root: folder of the image files, or None if the images are not files.
        training_sample: some training images, drawn on the map together with the test images. None if this split is
            the training split, or if the data set has no training images.
        notes: sentences about installed versions that differ from the versions used for training.
        seed: seed of the run.
        other_classifiers: classes that the evaluated head's other classifiers give the images: an int64 tensor ``[N]``
            for each classifier with as many classes as the evaluated classifier.
    """

    name: str
    split: Split
    features: Tensor
    class_names: tuple[str, ...]
    discovered: DiscoveredClasses | None
    notes: tuple[str, ...]
    seed: int
    other_classifiers: tuple[Tensor, ...] = ()
    corrections: CorrectedClasses | None = None
    plan: ImagePlan = LARGEST
    root: Path | None = None
    training_sample: EncodedSplit | None = None

    @cached_property
    def originals(self) -> OriginalImages:
        """The images of the split, read from their files where possible."""
        return OriginalImages(self.split.images, self.split.files, self.root)

    @cached_property
    def classes(self) -> DiscoveredClasses | None:
        """The classes to show: the discovered classes, after corrections and merges by a user."""
        if self.discovered is None or self.corrections is None:
            return self.discovered
        highest = max([int(self.corrections.assigned.max()), *self.corrections.names])
        return replace(
            self.discovered,
            assigned=self.corrections.assigned,
            confidence=self.corrections.confidence,
            count=max(self.discovered.count, highest + 1),
        )

    def is_corrected(self, indices: Tensor) -> Tensor:
        """Return whether a user corrected the images at int64 indices ``[B]``, as a bool tensor ``[B]``."""
        if self.corrections is None:
            return torch.zeros(len(indices), dtype=torch.bool)
        return self.corrections.corrected[indices]

    def describe(self, index: int) -> str:
        """Return an image's class, label and file as text."""
        parts = []
        if self.discovered is not None and self.classes is not None:
            number, confidence = int(self.classes.assigned[index]), float(self.classes.confidence[index])
            if self.corrections is not None and bool(self.corrections.corrected[index]):
                mark = "ignored" if number == IGNORED else "marked as outlier"
                own = f"moved to class {number}" if number >= 0 else mark
                parts.append(f"{own} by a user, discovered class {int(self.discovered.assigned[index])}")
            else:
                parts.append(f"class {number}, confidence {confidence:.2f}")
        if self.split.labels is not None:
            parts.append(f"label {escape_controls(self.class_names[int(self.split.labels[index])])}")
        parts.append(escape_controls(self.split.files[index]) if self.split.files else f"{self.name} image {index}")
        return ", ".join(parts)

    def tiles(self, indices: Sequence[int] | Tensor, differs: Sequence[bool] | None = None) -> list[dict[str, Any]]:
        """Return, for each image, the variables of its tile in the page's template; empty if ``plan`` shows no images.

        Args:
            indices: indices of the images.
            differs: for each image, whether to mark it with the words ``different label``; None marks no image.
        """
        indices = torch.as_tensor(indices, dtype=torch.int64)
        if not self.plan.per_row:
            return []
        images = [self.originals.load(index, self.plan.longest) for index in indices.tolist()]
        return [
            {
                "uri": data_uri(image),
                "text": self.describe(index) + (", different label" if mark else ""),
                "differs": mark,
                "small": max(image.size) <= PIXELATED_SIZE,
            }
            for image, index, mark in zip(images, indices.tolist(), differs or [False] * len(indices), strict=True)
        ]

    def sample(self, limit: int) -> Tensor:
        """Return sorted int64 indices of ``limit`` random images, or of all images if there are fewer."""
        count = len(self.split.images)
        if count <= limit:
            return torch.arange(count)
        return torch.randperm(count, generator=torch.Generator().manual_seed(self.seed))[:limit].sort().values

    def neighbours(self) -> list[tuple[int, list[int]]]:
        """Return indices of query images, each with the indices of its most similar images, nearest first.

        Similarity is the cosine of the features. There is one query for each of the largest classes: the image with the
        median confidence. Without classes, the queries are evenly spaced images.
        """
        if self.discovered is not None:
            sizes = self.discovered.sizes
            largest = sizes.argsort(descending=True, stable=True)[:QUERIES].sort().values.tolist()
            queries = [int(self.discovered.members(number)[sizes[number] // 2]) for number in largest if sizes[number]]
        else:
            queries = sorted(set(evenly_spaced_indices(len(self.features), QUERIES).tolist()))
        unit = normalize(self.features, dim=1)
        similarity = unit[queries] @ unit.T
        similarity[torch.arange(len(queries)), queries] = -torch.inf
        nearest = similarity.topk(min(NEIGHBOURS, len(unit) - 1), dim=1).indices
        return list(zip(queries, nearest.tolist(), strict=True))
