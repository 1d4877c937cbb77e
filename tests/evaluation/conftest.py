"""Subjects that evaluators of several kinds are tested on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.context import Context
from sslkit.contracts.dataset import Split
from sslkit.contracts.options import NoOptions
from sslkit.data.store import TensorStore

CLASSES = 6


class Small(Backbone):
    api = 1
    feature_dim = 8

    def __init__(self) -> None:
        super().__init__(NoOptions(), None)
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(1, 8, 5, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(72, 8))

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images)
        return features

    def feature_maps(self, images: Tensor) -> Mapping[int, Tensor]:
        return {}


def split(count: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    images = torch.randint(0, 200, (count, 1, 12, 12), generator=generator)
    for image, label in zip(images, labels.tolist(), strict=True):
        row, column = divmod(label, 3)
        image[0, 6 * row : 6 * row + 4, 4 * column : 4 * column + 3] += 55
    return Split(TensorStore(images.to(torch.uint8)), labels)


class Squares:
    """Images whose class is the place of a bright square."""

    seed = 1
    class_names = tuple("abcdef")
    mask_names: tuple[str, ...] = ()
    other_data = ""
    context = Context(1, 12, (0.4,), (0.25,), 8, 1, 1, view_size=12)

    def __init__(self, *, untrained: bool = False) -> None:
        self.untrained = untrained
        self.asked: Counter[str] = Counter()
        self.splits = {"train": split(180, 0), "validation": split(36, 1), "test": split(120, 2)}
        self.network = Small().eval().requires_grad_(False)

    def split(self, name: str) -> Split:
        self.asked[name] += 1
        return self.splits[name]

    def backbone(self) -> Backbone:
        return self.network


@pytest.fixture
def squares() -> type[Squares]:
    return Squares
