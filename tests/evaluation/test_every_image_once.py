"""Every test image counts once: 513 images in batches of 512, compared with metrics computed by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.dataset import Split
from sslkit.contracts.evaluator import Evaluator, Features
from sslkit.contracts.options import NoOptions
from sslkit.contracts.preprocessing import Preprocessing
from sslkit.data.store import TensorStore
from sslkit.evaluation.evaluators.cluster import Cluster
from sslkit.evaluation.evaluators.knn import Knn
from sslkit.evaluation.evaluators.linear import Linear
from sslkit.features.extraction import extract_features

COUNT, CLASSES = 513, 3

MISTAKEN = [7, 512]
"""Indices of images with a wrong label; the last image is alone in its batch."""


class Brightness(Backbone):
    """Backbone whose feature is the one-hot encoding of three grey levels."""

    api = 2
    feature_dim = CLASSES

    def __init__(self) -> None:
        super().__init__(NoOptions(), None)
        self.batch_sizes: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batch_sizes.append(len(images))
        greys = torch.tensor([0.0, 0.5, 1.0])
        return (-50 * (images.mean((1, 2, 3))[:, None] - greys).square()).exp()


def greys(count: int, mistaken: list[int]) -> Split:
    labels = torch.arange(count) % CLASSES
    levels = labels.clone()
    levels[mistaken] = (labels[mistaken] + 1) % CLASSES
    images = torch.tensor([0, 128, 255], dtype=torch.uint8)[levels][:, None, None, None].expand(-1, 1, 4, 4)
    return Split(TensorStore(images.contiguous()), labels)


class Subject:
    seed = 0
    class_names = ("black", "grey", "white")
    discovered_names: tuple[str, ...] = ()
    temperature = 1.0

    def __init__(self) -> None:
        self.splits = {"train": greys(60, []), "validation": greys(30, []), "test": greys(COUNT, MISTAKEN)}
        self.network = Brightness()

    def backbone(self) -> Backbone:
        return self.network

    def split(self, name: str) -> Split:
        return self.splits[name]

    def corrected_classes(self, name: str) -> None:
        return None

    def features(self, name: str) -> Features:
        split = self.splits[name]
        features = extract_features(self.network, split.images, Preprocessing(4, (0.0,), (1.0,)))
        return Features(features, split.labels, logits=features)


@pytest.mark.parametrize("evaluator", [Linear(Linear.Options()), Knn(Knn.Options())], ids=["linear", "knn"])
def test_every_test_image_counts_once(evaluator: Evaluator) -> None:
    subject = Subject()
    result = evaluator.evaluate(subject)
    assert subject.network.batch_sizes[-2:] == [512, 1]
    assert result.protocol["images"] == COUNT
    assert result.metrics["top1"] == (COUNT - len(MISTAKEN)) / COUNT


def test_every_test_image_counts_once_in_clusters() -> None:
    result = Cluster(Cluster.Options()).evaluate(Subject())
    assert result.protocol["images"] == COUNT
    for metrics in (result.metrics, result.baselines["kmeans_features"], result.baselines["kmeans_pixels"]):
        assert metrics["acc"] == (COUNT - len(MISTAKEN)) / COUNT
        assert metrics["classes_used"] == CLASSES
