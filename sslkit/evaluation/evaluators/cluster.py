"""Evaluator: unsupervised classification, beside what k-means makes of pixels and of features."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from sslkit.contracts import options
from sslkit.contracts.dataset import ImageStore
from sslkit.contracts.evaluator import Evaluation, Evaluator, Subject
from sslkit.errors import DataError
from sslkit.evaluation.class_groups import group_by_name, name_indices, predict_group
from sslkit.evaluation.clustering_metrics import PROTOCOL, assignment_entropy, classes_used, cluster_scores
from sslkit.evaluation.kmeans import fit_centres, nearest_centre

FIT_BYTES = 1 << 30
"""Memory for the vectors that k-means is fitted on, unless one for each class needs more."""

BLOCK_BYTES = 1 << 28
"""Memory for the vectors that are assigned to centres at a time."""


@dataclass(frozen=True)
class Vectors:
    """Vectors ``[count, width]`` float32, made when fetched, at int64 places ``[B]``."""

    count: int
    width: int
    fetch: Callable[[Tensor], Tensor]


def unit_features(features: Tensor) -> Vectors:
    """Each feature, of ``[N, D]``, divided by its length."""
    return Vectors(len(features), features.shape[1], lambda index: normalize(features[index].float(), dim=1))


def pixels(images: ImageStore) -> Vectors:
    """Each image's pixels in 0..1, flattened."""
    return Vectors(len(images), math.prod(images.shape), lambda index: images.gather(index).flatten(1).float() / 255)


class Cluster(Evaluator):
    """Groups the test images without labels, and scores the groups against their classes.

    An image's group is the greatest of its logits; where the run has no classifier, it is the one that k-means on
    features, with as many groups as there are classes, puts it in.  Labels serve for the scores alone.
    """

    api = 1

    class Options(options.Options):
        kmeans_restarts: int = Field(default=10, ge=1)
        """Starts of k-means, of which the one with the least inertia counts."""
        kmeans_fit_limit: int = Field(default=10_000, ge=1)
        """How many train images, drawn at random, k-means is fitted on at most; fewer where that takes over 1 GiB."""

    options: Options

    def evaluate(self, subject: Subject) -> Evaluation:
        """Scores of the test images.

        Raises:
            DataError: the test images have no labels, or k-means would see fewer train images than there are classes.
        """
        train, test = subject.features("train"), subject.features("test")
        if test.labels is None:
            raise DataError("the cluster evaluation scores clusters against labels, but the test images have none")
        labels = test.labels.cpu()
        classes = len(subject.class_names) or int(labels.max()) + 1
        spaces = {
            "kmeans_pixels": (pixels(subject.split("train").images), pixels(subject.split("test").images)),
            "kmeans_features": (unit_features(train.features), unit_features(test.features)),
        }
        assigned, fitted = {}, {}
        for name, (seen, unseen) in spaces.items():
            fitted[name] = self._fit_count(seen, classes)
            assigned[name] = self._kmeans(seen, unseen, fitted[name], classes, subject.seed)
        baselines = {name: _scores(groups, labels, classes, classes) for name, groups in assigned.items()}
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
                "fit_images": fitted,
                "clusters": classes,
                "restarts": self.options.kmeans_restarts,
                "seed": subject.seed,
                "pixels": "scaled to 0..1, flattened",
                "features": "L2-normalised",
            },
        }
        if subject.discovered_names and test.logits is not None:
            metrics["named"], protocol["named"] = self._named(subject, test.logits.cpu(), labels, classes)
        return Evaluation(metrics, protocol, baselines)

    def _named(self, subject: Subject, logits: Tensor, labels: Tensor, classes: int) -> tuple[dict[str, Any], str]:
        """Scores where classes of one name count as one, and of the names themselves where some are those of labels."""
        group, names = group_by_name(subject.discovered_names)
        assigned = predict_group(logits, subject.temperature, group)[1]
        metrics = _scores(assigned, labels, len(names), classes)
        del metrics["mapping"]
        told = f"classes of one name count as one, which leaves {len(names)}"
        meant = name_indices(names, subject.class_names)
        if (meant >= 0).any():
            metrics["named_acc"] = float((meant[assigned] == labels).double().mean())
            told += (
                f"; named_acc: images whose class bears the name of their label ({int((meant >= 0).sum())} of the "
                f"{len(names)} classes bear one, those of the others count as wrong)"
            )
        return metrics, told

    def _fit_count(self, vectors: Vectors, classes: int) -> int:
        affordable = max(classes, FIT_BYTES // (4 * vectors.width))
        count = min(vectors.count, self.options.kmeans_fit_limit, affordable)
        if count < classes:
            raise DataError(
                f"k-means cannot find {classes} clusters in {count} train images: raise kmeans_fit_limit "
                f"({self.options.kmeans_fit_limit}), or give more train images ({vectors.count})"
            )
        return count

    def _kmeans(self, train: Vectors, test: Vectors, fit_count: int, clusters: int, seed: int) -> Tensor:
        sample = torch.randperm(train.count, generator=torch.Generator().manual_seed(seed))[:fit_count].sort().values
        centres = fit_centres(train.fetch(sample), clusters, seed, self.options.kmeans_restarts)
        blocks = torch.split(torch.arange(test.count), max(1, BLOCK_BYTES // (4 * test.width)))
        return torch.cat([nearest_centre(test.fetch(block), centres).cpu() for block in blocks])


def _scores(assigned: Tensor, labels: Tensor, clusters: int, classes: int) -> dict[str, Any]:
    return {
        **cluster_scores(assigned, labels, clusters, classes),
        "classes_used": classes_used(assigned),
        "entropy_nats": assignment_entropy(assigned),
    }
