"""Evaluator: clustering accuracy of the discovered classes, with k-means baselines."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, normalize

from sslkit.contracts import options
from sslkit.contracts.dataset import ImageStore
from sslkit.contracts.evaluator import CorrectedClasses, Evaluation, Evaluator, Subject
from sslkit.errors import DataError
from sslkit.evaluation.class_groups import group_by_name, name_indices, predict_group
from sslkit.evaluation.clustering_metrics import PROTOCOL, assignment_entropy, classes_used, cluster_scores
from sslkit.evaluation.labels import count_classes, require_labels
from sslkit.features.kmeans import fit_centres, nearest_centre

FIT_BYTES = 1 << 30
"""Largest size in bytes of the vectors for fitting k-means; more is used only if one vector per class needs it."""

BLOCK_BYTES = 1 << 28
"""Largest size in bytes of the vectors that are assigned to centres at a time."""


MAX_PIXEL_SIDE = 32
"""Largest image side in pixels for k-means on pixels. Larger images are shrunk, because k-means would take minutes."""


@dataclass(frozen=True)
class Vectors:
    """float32 vectors ``[count, width]`` that are computed on demand.

    Attributes:
        count: number of vectors.
        width: length of a vector.
        fetch: function that returns the vectors at int64 indices ``[B]``.
    """

    count: int
    width: int
    fetch: Callable[[Tensor], Tensor]


def unit_features(features: Tensor) -> Vectors:
    """Return L2-normalised features ``[N, D]`` as ``Vectors``."""
    return Vectors(len(features), features.shape[1], lambda index: normalize(features[index].float(), dim=1))


def pixel_shape(images: ImageStore) -> tuple[int, int]:
    """Return the height and width to which images are shrunk for k-means on pixels: at most ``MAX_PIXEL_SIDE``."""
    height, width = images.shape[1:]
    scale = min(1.0, MAX_PIXEL_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def pixels(images: ImageStore) -> Vectors:
    """Return the flattened pixels of each image in [0, 1] as ``Vectors``; large images are shrunk by averaging."""
    shape = pixel_shape(images)
    small = shape == tuple(images.shape[1:])
    block = max(1, BLOCK_BYTES // (4 * math.prod(images.shape)))

    def fetch(index: Tensor) -> Tensor:
        parts = (images.gather(part).float() / 255 for part in torch.split(index, block))
        return torch.cat([(part if small else adaptive_avg_pool2d(part, shape)).flatten(1) for part in parts])

    return Vectors(len(images), images.shape[0] * math.prod(shape), fetch)


class Cluster(Evaluator):
    """Evaluator that assigns test images to clusters without labels, and compares the clusters with the labels.

    The cluster of an image is the index of its largest logit. For a run without a classifier, clusters come from
    k-means on features, with as many clusters as classes. Only the metrics use labels.
    """

    api = 2

    class Options(options.Options):
        kmeans_restarts: int = Field(default=10, ge=1)
        """Number of k-means initialisations; the result with the lowest inertia is used."""
        kmeans_fit_limit: int = Field(default=10_000, ge=1)
        """Largest number of random training images for fitting k-means; fewer images if these take more than 1 GiB."""

    options: Options

    @classmethod
    def check_options(cls, folder: Path) -> Mapping[str, Any]:
        return {"kmeans_restarts": 1}

    def evaluate(self, subject: Subject) -> Evaluation:
        """Return clustering metrics of the test images, with k-means baselines.

        Raises:
            DataError: the test images have no labels, or k-means has fewer training images than classes.
        """
        train, test = subject.features("train"), subject.features("test")
        labels = require_labels(test, "test")
        classes = count_classes(subject.class_names, labels)
        spaces = {
            "kmeans_pixels": (pixels(subject.split("train").images), pixels(subject.split("test").images)),
            "kmeans_features": (unit_features(train.features), unit_features(test.features)),
        }
        assigned, fit_images = {}, {}
        for name, (train_vectors, test_vectors) in spaces.items():
            fit_images[name] = self._fit_count(train_vectors, classes)
            assigned[name] = self._kmeans(train_vectors, test_vectors, fit_images[name], classes, subject.seed)
        baselines = {name: _scores(clusters, labels, classes, classes) for name, clusters in assigned.items()}
        if test.logits is None:
            clusters, source, metrics = classes, "k-means on features", baselines.pop("kmeans_features")
        else:
            clusters, source = test.logits.shape[1], "argmax of logits"
            metrics = _scores(test.logits.argmax(dim=1).cpu(), labels, clusters, classes)
        protocol = {
            "split": "test",
            "images": len(labels),
            "clusters": clusters,
            "classes": classes,
            "assigned_by": source,
            **PROTOCOL,
            "kmeans": {
                "fit_on": "train",
                "fit_images": fit_images,
                "clusters": classes,
                "restarts": self.options.kmeans_restarts,
                "seed": subject.seed,
                "pixels": _describe_pixels(subject.split("train").images),
                "features": "L2-normalised",
            },
        }
        if subject.discovered_names and test.logits is not None:
            metrics["named"], protocol["named"] = self._named(subject, test.logits.cpu(), labels, classes)
        corrected = subject.corrected_classes("test")
        if corrected is not None and corrected.images:
            scores, protocol["corrections"] = _corrected(corrected, subject.class_names, labels, classes)
            metrics |= {"corrected": scores} if scores else {}
        return Evaluation(metrics, protocol, baselines)

    def _named(self, subject: Subject, logits: Tensor, labels: Tensor, classes: int) -> tuple[dict[str, Any], str]:
        """Return the metrics after merging discovered classes with the same name, and a sentence about the metrics."""
        group, names = group_by_name(subject.discovered_names)
        assigned = predict_group(logits, subject.temperature, group)[1]
        metrics = _scores_with_names(assigned, names, subject.class_names, labels, classes)
        description = f"classes with the same name are merged, which leaves {len(names)}"
        if "named_acc" in metrics:
            label_of_group = name_indices(names, subject.class_names)
            description += (
                f"; named_acc: accuracy of the class names as labels ({int((label_of_group >= 0).sum())} of the "
                f"{len(names)} names are label names; images of the other classes count as wrong)"
            )
        return metrics, description

    def _fit_count(self, vectors: Vectors, classes: int) -> int:
        affordable = max(classes, FIT_BYTES // (4 * vectors.width))
        count = min(vectors.count, self.options.kmeans_fit_limit, affordable)
        if count < classes:
            raise DataError(
                f"k-means cannot find {classes} clusters in {count} train images: raise kmeans_fit_limit "
                f"({self.options.kmeans_fit_limit}), or add training images ({vectors.count})"
            )
        return count

    def _kmeans(self, train: Vectors, test: Vectors, fit_count: int, clusters: int, seed: int) -> Tensor:
        sample = torch.randperm(train.count, generator=torch.Generator().manual_seed(seed))[:fit_count].sort().values
        centres = fit_centres(train.fetch(sample), clusters, seed, self.options.kmeans_restarts)
        blocks = torch.split(torch.arange(test.count), max(1, BLOCK_BYTES // (4 * test.width)))
        return torch.cat([nearest_centre(test.fetch(block), centres).cpu() for block in blocks])


def _describe_pixels(images: ImageStore) -> str:
    height, width = pixel_shape(images)
    shrunk = f"shrunk to {height} x {width} pixels by averaging, " if (height, width) != tuple(images.shape[1:]) else ""
    return f"{shrunk}scaled to 0..1, flattened"


def _corrected(
    corrected: CorrectedClasses, class_names: Sequence[str], labels: Tensor, classes: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the metrics of the corrected classes of the test images, and the counts of corrected and left-out images.

    Outliers and ignored images are left out. There are no metrics if the user corrected none of the test images, or if
    all test images are left out.
    """
    kept = corrected.assigned >= 0
    counts = {
        "images": corrected.images,
        "test_images": int(corrected.corrected.sum()),
        "left_out": int((~kept).sum()),
    }
    if not counts["test_images"] or not bool(kept.any()):
        return {}, counts
    numbers, assigned = corrected.assigned[kept].unique(return_inverse=True)
    names = [corrected.names.get(number, "") for number in numbers.tolist()]
    return _scores_with_names(assigned, names, class_names, labels.cpu()[kept], classes), counts


def _scores_with_names(
    assigned: Tensor, names: Sequence[str], class_names: Sequence[str], labels: Tensor, classes: int
) -> dict[str, Any]:
    """Return the metrics of an assignment of images to named classes.

    ``named_acc`` is the share of images whose class has the name of their label. It is missing if no class has the name
    of a label.
    """
    metrics = _scores(assigned, labels, len(names), classes)
    del metrics["mapping"]
    label_of_class = name_indices(names, class_names)
    if (label_of_class >= 0).any():
        metrics["named_acc"] = float((label_of_class[assigned] == labels).double().mean())
    return metrics


def _scores(assigned: Tensor, labels: Tensor, clusters: int, classes: int) -> dict[str, Any]:
    return {
        **cluster_scores(assigned, labels, clusters, classes),
        "classes_used": classes_used(assigned),
        "entropy_nats": assignment_entropy(assigned),
    }
