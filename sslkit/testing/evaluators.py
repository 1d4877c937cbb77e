"""What is promised of evaluators."""

from __future__ import annotations

import json
from collections import Counter
from typing import ClassVar

import torch
from torch import Tensor, nn

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.context import Context
from sslkit.contracts.dataset import Split
from sslkit.contracts.evaluator import Evaluation, Evaluator, Features
from sslkit.testing.base import ComponentTests, no_global_randomness, require

CLASSES = 3
SIDE = 32


class _Images:
    """Images in memory."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    @property
    def shape(self) -> tuple[int, int, int]:
        _, channels, height, width = self.images.shape
        return channels, height, width

    def __len__(self) -> int:
        return len(self.images)

    def gather(self, index: Tensor) -> Tensor:
        return self.images[index]


class _Backbone(Backbone):
    api = 1
    feature_dim = 6

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.layers = nn.Sequential(nn.Conv2d(3, 6, 8, 8), nn.BatchNorm2d(6), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images).amax((2, 3))
        return features

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        return {8: self.layers(images)}


class PatternSubject:
    """A run whose images are three patterns, which its frozen backbone half tells apart; with labels and masks."""

    class_names = ("low", "middle", "high")
    mask_names = ("dark", "bright")
    other_data = "patterns"
    discovered_names: tuple[str, ...] = ()
    temperature = 1.0
    untrained = False

    def __init__(self, context: Context, seed: int = 0) -> None:
        self.seed = seed
        self.context = context
        self.asked: Counter[str] = Counter()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self._backbone = _Backbone().eval().requires_grad_(False)
        self._splits = {
            name: _patterns(count, place)
            for place, (name, count) in enumerate((("train", 60), ("validation", 30), ("test", 30)))
        }

    def split(self, split: str) -> Split:
        """The images of a split."""
        self.asked[split] += 1
        return self._splits[split]

    def features(self, split: str) -> Features:
        """What the backbone makes of them."""
        self.asked[split] += 1
        own = self._splits[split]
        assert isinstance(own.images, _Images)
        with torch.no_grad():
            features = self._backbone(own.images.images.float() / 255)
        return Features(features, own.labels, features[:, :CLASSES])

    def backbone(self) -> Backbone:
        """The backbone."""
        return self._backbone


def _patterns(count: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    images = torch.randint(0, 100, (count, 3, SIDE, SIDE), generator=generator)
    masks = torch.zeros(count, SIDE, SIDE, dtype=torch.uint8)
    for place, label in enumerate(labels.tolist()):
        images[place, label, 8 * label : 8 * label + 16, 8:24] += 150
        masks[place, 8 * label : 8 * label + 16, 8:24] = 1
    return Split(_Images(images.to(torch.uint8)), labels, masks=masks)


class EvaluatorTests(ComponentTests):
    """Subclass with ``component``, and with ``options`` that make it quick.

    The evaluator is given a run on images of three patterns with labels and masks.
    """

    component: ClassVar[type[Evaluator]]

    slow = ComponentTests.slow | {
        "test_figures_are_numbers_that_json_can_hold",
        "test_the_protocol_is_told",
        "test_it_leaves_the_backbone_as_it_was",
        "test_it_repeats_and_uses_no_global_randomness",
        "test_labels_of_the_test_images_choose_nothing",
    }

    def subject(self) -> PatternSubject:
        """A run to evaluate."""
        return PatternSubject(self.make_context(image_size=SIDE, view_size=SIDE))

    def evaluate(self, subject: PatternSubject | None = None) -> Evaluation:
        """What the evaluator finds."""
        evaluator: Evaluator = self.make()
        return evaluator.evaluate(subject or self.subject())

    def test_what_it_needs_is_known(self) -> None:
        strange = set(self.component.needs) - {"labels", "test"}
        require(not strange, f"needs may hold 'labels' and 'test', not {sorted(strange)}")

    def test_figures_are_numbers_that_json_can_hold(self) -> None:
        found = self.evaluate()
        require(isinstance(found, Evaluation), "evaluate must return an Evaluation")
        require(found.metrics, "there must be a figure")
        for part in (found.metrics, found.protocol, found.baselines):
            try:
                json.dumps(part, allow_nan=False)
            except (TypeError, ValueError) as error:
                raise AssertionError(f"metrics, protocol and baselines must be plain finite values: {error}") from error
        curves = found.metrics.get("curves", [])
        rows = isinstance(curves, list) and all(isinstance(row, dict) for row in curves)
        numbers = rows and all(isinstance(value, (int, float)) for row in curves for value in row.values())
        require(numbers, "curves must be a list with a dict of numbers for each epoch")

    def test_the_protocol_is_told(self) -> None:
        protocol = self.evaluate().protocol
        require(protocol.get("split"), "the protocol must tell the split that the metrics are of")

    def test_it_leaves_the_backbone_as_it_was(self) -> None:
        subject = self.subject()
        before = {name: value.clone() for name, value in subject.backbone().state_dict().items()}
        self.evaluate(subject)
        after = subject.backbone().state_dict()
        kept = all(torch.equal(value, after[name]) for name, value in before.items())
        require(kept and not subject.backbone().training, "train a copy of the backbone, never the run's own")

    def test_it_repeats_and_uses_no_global_randomness(self) -> None:
        first = self.evaluate()
        with no_global_randomness("an evaluator"):
            again = self.evaluate()
        require(dict(first.metrics) == dict(again.metrics), "the same run must give the same metrics")

    def test_labels_of_the_test_images_choose_nothing(self) -> None:
        """Other test images must not change what the protocol says was chosen."""
        first, subject = self.evaluate(), self.subject()
        test = subject._splits["test"]
        assert test.labels is not None
        subject._splits["test"] = Split(test.images, test.labels.roll(1), masks=test.masks)
        other = self.evaluate(subject)
        require(dict(first.protocol) == dict(other.protocol), "what the protocol tells must not depend on test labels")
