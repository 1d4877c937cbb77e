"""Fine-tuning, on images whose class is the place of a bright square."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.context import Context
from sslkit.contracts.dataset import Split
from sslkit.data.splits import Joined
from sslkit.data.store import TensorStore
from sslkit.evaluation.finetune import Finetune
from sslkit.options import NoOptions

CLASSES = 6


class Small(Backbone):
    api = 1
    feature_dim = 8

    def __init__(self) -> None:
        super().__init__(NoOptions(), None)  # type: ignore[arg-type]  # it asks nothing of its context
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


class Fake:
    seed = 1
    class_names = tuple("abcdef")
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


def finetune(**options: object) -> Finetune:
    given = {"epochs": 12, "batch_size": 32, "crop_scale": (0.9, 1.0), "flip_p": 0.0, "lr_backbone": 0.05}
    return Finetune(Finetune.Options.model_validate(given | options))


def test_learns_leaves_the_run_s_network_alone_and_repeats_to_the_bit() -> None:
    subject = Fake()
    before = {name: value.clone() for name, value in subject.network.state_dict().items()}
    result = finetune(fractions=(0.1, 1.0), seeds=2).evaluate(subject)
    assert subject.asked == {"train": 1, "validation": 1, "test": 1}
    few = result.figures["fractions"]["0.1"]
    assert 1 / CLASSES < few["top1"] < result.figures["top1"]
    assert result.figures["top1"] > 0.8
    assert few["top1_std"] >= 0
    assert all(torch.equal(value, before[name]) for name, value in subject.network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in subject.network.parameters())
    assert finetune(fractions=(0.1, 1.0), seeds=2).evaluate(Fake()).figures == result.figures


def test_an_untrained_network_trains_at_the_classifier_s_rate() -> None:
    slow = finetune(lr_backbone=1e-9, lr_head=0.05, epochs=3)
    assert slow.evaluate(Fake()).protocol["lr_backbone"] == 1e-9
    result = slow.evaluate(Fake(untrained=True))
    assert result.protocol["lr_backbone"] == 0.05
    assert result.figures["top1"] > slow.evaluate(Fake()).figures["top1"]


def test_joined_stores_keep_their_order() -> None:
    images = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1)
    joined = Joined(TensorStore(images[:4]), TensorStore(images[4:]))
    assert len(joined) == 10
    assert joined.shape == (1, 1, 1)
    assert joined.gather(torch.tensor([9, 0, 4, 3])).flatten().tolist() == [9, 0, 4, 3]
