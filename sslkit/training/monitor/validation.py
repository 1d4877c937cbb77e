"""Validation metrics, measured at the end of epochs.

Measurements do not affect training, because they use no global random state and do not change BatchNorm statistics.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sslkit.assembly.assemble import Assembly
from sslkit.contracts.dataset import ImageStore, Split
from sslkit.contracts.duration import count_whole_epochs
from sslkit.contracts.evaluator import Features
from sslkit.contracts.head import Head
from sslkit.data.splits import evenly_spaced_indices, load_split, stratified_split
from sslkit.evaluation.clustering_metrics import assignment_entropy, classes_used, cluster_scores
from sslkit.evaluation.knn_classifier import knn_accuracy
from sslkit.evaluation.labels import count_classes
from sslkit.features.extraction import classify_features, device_of, extract_features


class ValidationMonitor:
    """Monitor that computes metrics of the network on a validation split.

    With labels, the metrics are cluster accuracy (one-to-one) and NMI of the classifier, and kNN accuracy. kNN accuracy
    also needs labels of the training images. Without labels, the metrics are the number of used classes and the entropy
    of the assignments, measured on training images.

    If the data set has no validation split, some labelled training images are held out as queries. Pre-training still
    uses these images, but not their labels.

    Args:
        assembly: the assembled recipe.
    """

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly
        every = assembly.recipe.monitor.every_epochs
        self.every = max(1, count_whole_epochs(every, assembly.context.epochs)) if every else 0
        self.labelled = load_split(assembly.dataset, "train") if self.every else None
        if self.labelled is not None and self.labelled.labels is None:
            self.labelled = None
        self.bank, self.queries, self.query_split = self._split(self.labelled)

    def _split(self, train: Split | None) -> tuple[Tensor, Tensor, Split | None]:
        """Return the indices of the training images that kNN searches, the indices of the queries, and their split.

        If the training images have no labels, kNN searches no images. If there are no labelled validation images
        either, the queries are training images, and the split is None.
        """
        settings, context = self.assembly.recipe.monitor, self.assembly.context
        if train is None or train.labels is None:
            if self.every and "validation" in self.assembly.dataset.splits:
                validation = load_split(self.assembly.dataset, "validation")
                if validation.labels is not None:
                    return torch.empty(0, dtype=torch.int64), torch.arange(len(validation.images)), validation
            count = min(len(self.assembly.images), settings.max_images)
            return torch.empty(0, dtype=torch.int64), evenly_spaced_indices(len(self.assembly.images), count), None
        if "validation" in self.assembly.dataset.splits:
            validation = load_split(self.assembly.dataset, "validation")
            bank = torch.arange(len(train.labels))
            return _thin(bank, settings.max_images), torch.arange(len(validation.images)), validation
        bank, queries = stratified_split(train.labels, settings.validation_fraction, context.seed)
        if not len(queries):  # one image per class, so none can be held out
            return self._split(None)
        return _thin(bank, settings.max_images), _thin(queries, settings.max_images), train

    def measure(self, classifier: int | None) -> dict[str, float]:
        """Return a mapping from name to metric; empty if there is no classifier and training images have no labels.

        Args:
            classifier: index of the classifier in the run's head. None measures only the features, for example before
                the classifier is trained.
        """
        head = self.assembly.method.heads.get(self.assembly.head) if classifier is not None else None
        if head is None and self.labelled is None:
            return {}
        metrics: dict[str, float] = {}
        images: ImageStore = self.query_split.images if self.query_split else self.assembly.images
        labels = self.query_split.labels if self.query_split else None
        queries = self._features(images, self.queries, labels, head, classifier or 0)
        if queries.logits is not None:
            assigned = queries.logits.argmax(dim=1)
            size = queries.logits.shape[1]
            if len(self.assembly.recipe.losses) == 1:  # ln K is not comparable with a sum of losses
                metrics["ln_k"] = math.log(size)
            metrics["classes_used"] = float(classes_used(assigned))
            metrics["entropy"] = assignment_entropy(assigned)
            if queries.labels is not None:
                classes = count_classes(self.assembly.dataset.class_names, queries.labels)
                scores = cluster_scores(assigned, queries.labels, size, classes)
                metrics["acc"] = float(scores["acc"])
                metrics["nmi"] = float(scores["nmi"])
        if self.labelled is not None and queries.labels is not None:
            bank = self._features(self.labelled.images, self.bank, self.labelled.labels)
            assert bank.labels is not None
            metrics["knn"] = knn_accuracy(
                bank.features,
                bank.labels,
                queries.features,
                queries.labels,
                k=min(self.assembly.recipe.monitor.knn_k, len(bank.features)),
                classes=count_classes(self.assembly.dataset.class_names, bank.labels, queries.labels),
                device=device_of(self.assembly.method.backbone),
            )
        return metrics

    def _features(
        self, images: ImageStore, indices: Tensor, labels: Tensor | None, head: Head | None = None, classifier: int = 0
    ) -> Features:
        frozen = self.assembly.frozen
        if frozen is not None:
            features = frozen.features(images)[indices]
        else:
            features = extract_features(
                self.assembly.method.backbone, images, self.assembly.views.preprocessing, indices=indices
            )
        logits = None if head is None else classify_features(head, features, classifier)
        return Features(features, None if labels is None else labels[indices], logits)


def _thin(indices: Tensor, count: int) -> Tensor:
    return indices if len(indices) <= count else indices[evenly_spaced_indices(len(indices), count)]
