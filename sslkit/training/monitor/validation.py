"""Monitors: what the network has found so far, measured at the end of an epoch on a validation split.

Nothing measured here changes the training: it draws from no random state, and leaves every statistic as it was.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sslkit.assembly.assemble import Assembly
from sslkit.contracts.dataset import ImageStore, Split
from sslkit.contracts.evaluator import Features
from sslkit.contracts.head import Head
from sslkit.data.splits import labelled, stratified
from sslkit.evaluation.clustering_metrics import assignment_entropy, classes_used, cluster_scores
from sslkit.evaluation.knn_classifier import knn_accuracy
from sslkit.trained.extract import extract


class ValidationMonitor:
    """Measures a network on images that are set apart from the labels, though not from the pre-training.

    Args:
        assembly: what is trained.

    With labels: cluster accuracy (one-to-one) and NMI of the classifier, and nearest-neighbour accuracy.  Without: how
    many classes are used and the entropy of the assignments, on training images.
    """

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly
        self.every = assembly.recipe.monitor.every_epochs
        self.labelled = labelled(assembly.dataset, "train") if self.every else None
        if self.labelled is not None and self.labelled.labels is None:
            self.labelled = None
        self.bank, self.queries, self.query_split = self._choose(self.labelled)

    def _choose(self, known: Split | None) -> tuple[Tensor, Tensor, Split | None]:
        settings, context = self.assembly.recipe.monitor, self.assembly.context
        if known is None or known.labels is None:
            count = min(len(self.assembly.images), settings.max_images)
            return torch.empty(0, dtype=torch.int64), _spread(len(self.assembly.images), count), None
        if "validation" in self.assembly.dataset.splits:
            validation = labelled(self.assembly.dataset, "validation")
            places = torch.arange(len(known.labels))
            return _thin(places, settings.max_images), torch.arange(len(validation.images)), validation
        bank, queries = stratified(known.labels, settings.validation_fraction, context.seed)
        if not len(queries):
            # A single image of each class: nothing can be set apart.
            return self._choose(None)
        return _thin(bank, settings.max_images), _thin(queries, settings.max_images), known

    def measure(self, classifier: int | None) -> dict[str, float]:
        """The figures by name; none, where there is neither a classifier nor a label to measure by.

        Args:
            classifier: place of the classifier that is measured, in the run's head; None: none is trained yet, and
                features alone are measured.
        """
        head = self.assembly.method.heads.get(self.assembly.head) if classifier is not None else None
        if head is None and self.labelled is None:
            return {}
        figures: dict[str, float] = {}
        images: ImageStore = self.query_split.images if self.query_split else self.assembly.images
        labels = self.query_split.labels if self.query_split else None
        queries = self._features(images, self.queries, labels, head, classifier or 0)
        if queries.logits is not None:
            assigned = queries.logits.argmax(dim=1)
            size = queries.logits.shape[1]
            if len(self.assembly.recipe.losses) == 1:  # a sum of losses is not to be compared with it
                figures["ln_k"] = math.log(size)
            figures["classes_used"] = float(classes_used(assigned))
            figures["entropy"] = assignment_entropy(assigned)
            if queries.labels is not None:
                scores = cluster_scores(assigned, queries.labels, size, len(self.assembly.dataset.class_names))
                figures["acc"] = float(scores["acc"])
                figures["nmi"] = float(scores["nmi"])
        if self.labelled is not None and queries.labels is not None:
            bank = self._features(self.labelled.images, self.bank, self.labelled.labels)
            assert bank.labels is not None
            figures["knn"] = knn_accuracy(
                bank.features,
                bank.labels,
                queries.features,
                queries.labels,
                k=min(self.assembly.recipe.monitor.knn_k, len(bank.features)),
                classes=len(self.assembly.dataset.class_names),
            )
        return figures

    def _features(
        self, images: ImageStore, places: Tensor, labels: Tensor | None, head: Head | None = None, classifier: int = 0
    ) -> Features:
        views = self.assembly.views
        return extract(
            self.assembly.method.backbone,
            images,
            size=views.size,
            mean=views.mean,
            std=views.std,
            labels=labels,
            places=places,
            head=head,
            classifier=classifier,
        )


def _spread(total: int, count: int) -> Tensor:
    return torch.linspace(0, total - 1, count, dtype=torch.float64).round().long()


def _thin(places: Tensor, most: int) -> Tensor:
    return places if len(places) <= most else places[_spread(len(places), most)]
