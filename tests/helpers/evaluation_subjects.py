"""Runs (subjects) and a data set to test evaluators with; ``requests`` counts how often each split was requested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from sslkit.contracts import options
from sslkit.contracts.backbone import Backbone
from sslkit.contracts.context import Context
from sslkit.contracts.dataset import Dataset, Split
from sslkit.contracts.evaluator import Features
from sslkit.contracts.options import NoOptions
from sslkit.data.store import TensorStore
from sslkit.errors import DataError


class FeatureSubject:
    """Subject with features of seven overlapping classes."""

    seed = 5
    class_names = tuple("abcdefg")

    def __init__(self, noise: float = 0.35) -> None:
        generator = torch.Generator().manual_seed(0)
        self.requests: Counter[str] = Counter()
        self.parts: dict[str, Features] = {}
        for name, count in (("train", 280), ("validation", 70), ("test", 140)):
            labels = torch.arange(count) % 7
            features = torch.eye(7, 9)[labels] + noise * torch.randn(count, 9, generator=generator)
            self.parts[name] = Features(features, labels)

    def features(self, split: str) -> Features:
        self.requests[split] += 1
        return self.parts[split]

    def backbone(self) -> Backbone:
        return SmallBackbone()


class SmallBackbone(Backbone):
    api = 2
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


def _squares(count: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 6
    images = torch.randint(0, 200, (count, 1, 12, 12), generator=generator)
    for image, label in zip(images, labels.tolist(), strict=True):
        row, column = divmod(label, 3)
        image[0, 6 * row : 6 * row + 4, 4 * column : 4 * column + 3] += 55
    return Split(TensorStore(images.to(torch.uint8)), labels)


class SquareSubject:
    """Subject with images of six classes; the class is the position of a bright square."""

    seed = 1
    class_names = tuple("abcdef")
    mask_names: tuple[str, ...] = ()
    other_data = ""
    context = Context(1, 12, (0.4,), (0.25,), 8, 1, 1, view_size=12)

    def __init__(self, *, untrained: bool = False) -> None:
        self.untrained = untrained
        self.requests: Counter[str] = Counter()
        self.splits = {"train": _squares(180, 0), "validation": _squares(36, 1), "test": _squares(120, 2)}
        self.network = SmallBackbone().eval().requires_grad_(False)

    def split(self, name: str) -> Split:
        self.requests[name] += 1
        return self.splits[name]

    def backbone(self) -> Backbone:
        return self.network


SIZES = {"train": 48, "validation": 16, "test": 24}


class Squares(Dataset):
    """Images with a bright square in one of four corners; the corner is the class."""

    api = 2

    class Options(options.Options):
        made: tuple[str, ...] = ("train", "test")
        """Names of the splits of the data set."""
        labelled: tuple[str, ...] = ("train", "test")
        """Names of the splits with labels."""
        classes: dict[str, int] = {}
        """Number of classes of each split; 4 for missing splits."""
        first: int = 0
        """Smallest label."""

    options: Options

    @property
    def splits(self) -> tuple[str, ...]:
        return self.options.made

    def load(self, split: str) -> Split:
        if split not in self.splits:
            raise DataError(f"there is no split {split!r}")
        generator = torch.Generator().manual_seed(list(SIZES).index(split))
        corners = torch.arange(SIZES[split]) % self.options.classes.get(split, 4)
        images = torch.randint(0, 100, (len(corners), 1, 8, 8), generator=generator)
        for image, corner in zip(images, corners.tolist(), strict=True):
            row, column = divmod(corner, 2)
            image[0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 150
        labels = corners + self.options.first if split in self.options.labelled else None
        return Split(TensorStore(images.to(torch.uint8)), labels)


def squares(made: Collection[str], labelled: Collection[str]) -> Squares:
    """Return the data set with these splits, of which some have labels."""
    return Squares(Squares.Options(made=tuple(made), labelled=tuple(labelled)))
