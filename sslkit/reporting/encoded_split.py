"""Images of a split, with the features and the discovered classes that a run's network computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sslkit.contracts.dataset import Split
from sslkit.data.splits import evenly_spaced_indices
from sslkit.errors import SslkitError
from sslkit.evaluation.discovered_classes import DiscoveredClasses
from sslkit.evaluation.labels import count_classes
from sslkit.evaluation.run_subject import RunSubject
from sslkit.features.extraction import classify_features
from sslkit.reporting.escape import escape_controls
from sslkit.reporting.thumbnails import data_uri, thumbnails
from sslkit.runs.run import Run

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
        discovered: discovered classes; None if the run has no classifier.
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

    def describe(self, index: int) -> str:
        """Return an image's discovered class, label and file as text."""
        parts = []
        if self.discovered is not None:
            confidence = float(self.discovered.confidence[index])
            parts.append(f"class {int(self.discovered.assigned[index])}, confidence {confidence:.2f}")
        if self.split.labels is not None:
            parts.append(f"label {escape_controls(self.class_names[int(self.split.labels[index])])}")
        parts.append(escape_controls(self.split.files[index]) if self.split.files else f"{self.name} image {index}")
        return ", ".join(parts)

    def tiles(self, indices: Sequence[int] | Tensor, differs: Sequence[bool] | None = None) -> list[dict[str, Any]]:
        """Return the template variables of images to show on a page.

        Args:
            indices: indices of the images.
            differs: whether to mark each image as having a different label; None marks no image.
        """
        indices = torch.as_tensor(indices, dtype=torch.int64)
        small = max(self.split.images.shape[1:]) <= PIXELATED_SIZE
        images = thumbnails(self.split.images, indices)
        return [
            {
                "uri": data_uri(image),
                "text": self.describe(index) + (", different label" if mark else ""),
                "differs": mark,
                "small": small,
            }
            for image, index, mark in zip(images, indices.tolist(), differs or [False] * len(indices), strict=True)
        ]

    def sample(self, limit: int) -> Tensor:
        """Return sorted int64 indices of ``limit`` random images, or of all images if there are fewer."""
        count = len(self.split.images)
        if count <= limit:
            return torch.arange(count)
        return torch.randperm(count, generator=torch.Generator().manual_seed(self.seed))[:limit].sort().values

    def projection(self) -> tuple[Tensor, float]:
        """Project L2-normalised features onto their first two principal components.

        Returns:
            Points ``[N, 2]``, and the share of the variance that these components explain, in [0, 1].
        """
        from sklearn.decomposition import PCA

        points = normalize(self.features, dim=1).numpy()
        if min(points.shape) < 2:
            return torch.zeros(len(points), 2), 0.0
        fitted = PCA(2, svd_solver="covariance_eigh").fit(points)
        return torch.from_numpy(fitted.transform(points)).float(), float(fitted.explained_variance_ratio_.sum())

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


def encode_split(run: Run, device: str) -> EncodedSplit:
    """Encode a finished run's test images, or its training images if the data set has no test images.

    Raises:
        SslkitError: the run has not finished, its files are damaged, or its images are missing.
    """
    subject = RunSubject(run, device)
    name = "test" if "test" in subject.dataset.splits else "train"
    split = subject.split(name)
    encoded = subject.features(name)
    names = subject.class_names
    if split.labels is not None and not names:
        names = tuple(map(str, range(count_classes(names, split.labels))))
    discovered = None
    if encoded.logits is not None:
        discovered = DiscoveredClasses.from_logits(encoded.logits, split.labels, len(names), subject.temperature)
    others = _other_classifiers(subject, encoded.features)
    return EncodedSplit(name, split, encoded.features, names, discovered, subject.notes, subject.seed, others)


def _other_classifiers(subject: RunSubject, features: Tensor) -> tuple[Tensor, ...]:
    """Return a tensor ``[N]`` with the classes of the images for each classifier that evaluation does not use.

    Only classifiers of the evaluated head that have as many classes as the evaluated classifier are included.
    """
    network = subject.network
    if network.head is None or not network.classes:
        return ()
    found = []
    for index, count in enumerate(network.head.classifiers):
        if index != network.classifier and count == network.classes:
            logits = classify_features(network.head, features, index)
            assert logits is not None
            found.append(logits.argmax(1))
    return tuple(found)


def assigned_classes(run: Run, device: str) -> tuple[str, Tensor] | None:
    """Return a checksum of the images that a report shows, and the class of each; None if the run has no classes."""
    try:
        subject = RunSubject(run, device)
        name = "test" if "test" in subject.dataset.splits else "train"
        logits = subject.features(name).logits
        return None if logits is None else (subject.checksum(name), logits.argmax(1))
    except SslkitError:
        return None
