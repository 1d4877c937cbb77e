"""Conformance tests for evaluators."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.context import Context
from sslkit.contracts.dataset import Split
from sslkit.contracts.evaluator import Evaluation, Evaluator, Features
from sslkit.data.store import TensorStore
from sslkit.runs.returned_evaluation import evaluator_result
from sslkit.testing.base import (
    ComponentTests,
    no_global_randomness,
    require,
    require_known_needs,
    works_or_refuses,
)

CLASSES = 3
SIDE = 32


class _Backbone(Backbone):
    api = 2
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
    """Simulated run: images of three patterns, with labels and masks, and a fixed backbone with random weights."""

    class_names = ("low", "middle", "high")
    mask_names = ("dark", "bright")
    other_data = "patterns"
    discovered_names: tuple[str, ...] = ()
    temperature = 1.0
    untrained = False

    def __init__(self, context: Context, seed: int = 0) -> None:
        self.seed = seed
        self.context = context
        self.requests: Counter[str] = Counter()
        self._features: dict[str, Features] = {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self._backbone = _Backbone().eval().requires_grad_(False)
        self._splits = {
            name: _patterns(count, seed)
            for seed, (name, count) in enumerate((("train", 60), ("validation", 30), ("test", 30)))
        }

    def corrected_classes(self, split: str) -> None:
        """Return None: no user corrected the classes."""

    def split(self, split: str) -> Split:
        """Return the images of a split."""
        self.requests[split] += 1
        return self._splits[split]

    def features(self, split: str) -> Features:
        """Return the features of a split, which are computed on the first call."""
        self.requests[split] += 1
        if split not in self._features:
            images = self._splits[split]
            with torch.no_grad():
                features = self._backbone(images.images.gather(torch.arange(len(images.images))).float() / 255)
            self._features[split] = Features(features, images.labels, features[:, :CLASSES].clone())
        return self._features[split]

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the name and the value of each tensor that evaluators share."""
        for split in self._splits:
            part, images = self.features(split), self._splits[split]
            named = {"features": part.features, "logits": part.logits, "labels": images.labels, "masks": images.masks}
            yield f"the images of {split}", images.images.gather(torch.arange(len(images.images)))
            yield from ((f"the {name} of {split}", tensor) for name, tensor in named.items() if tensor is not None)

    def backbone(self) -> Backbone:
        """Return the backbone."""
        return self._backbone


def _patterns(count: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    images = torch.randint(0, 100, (count, 3, SIDE, SIDE), generator=generator)
    masks = torch.zeros(count, SIDE, SIDE, dtype=torch.uint8)
    for index, label in enumerate(labels.tolist()):
        images[index, label, 8 * label : 8 * label + 16, 8:24] += 150
        masks[index, 8 * label : 8 * label + 16, 8:24] = 1
    return Split(TensorStore(images.to(torch.uint8)), labels, masks=masks)


class EvaluatorTests(ComponentTests):
    """Conformance tests for an evaluator. Set ``component``, and ``options`` that make the evaluation fast.

    The evaluated run has 120 images of three patterns, with labels and masks.
    """

    component: ClassVar[type[Evaluator]]
    draws_weights = False

    slow = ComponentTests.slow | {
        "test_labels_that_are_not_needed_are_not_required",
        "test_metrics_are_finite_and_valid_json",
        "test_the_protocol_names_the_split",
        "test_the_backbone_is_unchanged",
        "test_features_labels_and_images_are_not_modified",
        "test_it_is_deterministic_and_uses_no_global_randomness",
        "test_test_labels_change_no_choice",
    }

    def subject(self) -> PatternSubject:
        """Return the simulated run that the evaluator evaluates."""
        return PatternSubject(self.make_context(image_size=SIDE, view_size=SIDE))

    def build(self) -> Evaluator:
        """Build the evaluator."""
        evaluator: Evaluator = self.make()
        return evaluator

    def evaluate(self, subject: PatternSubject | None = None) -> Evaluation:
        """Build the evaluator and return its result."""
        return self.build().evaluate(subject or self.subject())

    def test_needs_are_known(self) -> None:
        require_known_needs("evaluator", self.component.needs)

    def test_labels_that_are_not_needed_are_not_required(self) -> None:
        if "labels" in self.component.needs:
            return
        subject = self.subject()
        for name, split in subject._splits.items():
            subject._splits[name] = replace(split, labels=None)
        with works_or_refuses('without labels, for which its needs must contain "labels", the evaluator'):
            self.evaluate(subject)

    def test_metrics_are_finite_and_valid_json(self) -> None:
        result = self.evaluate()
        try:
            evaluator_result(result, {})
        except ValueError as error:
            raise AssertionError(f"the result of evaluate cannot be saved: {error}") from error
        require(result.metrics, "metrics must not be empty")
        for part in (result.metrics, result.protocol, result.baselines):
            try:
                json.dumps(part, allow_nan=False)
            except (TypeError, ValueError) as error:
                raise AssertionError(
                    f"metrics, protocol and baselines must be finite values that JSON can hold: {error}"
                ) from error
        curves = result.metrics.get("curves", [])
        rows = isinstance(curves, list) and all(isinstance(row, dict) for row in curves)
        numbers = rows and all(isinstance(value, (int, float)) for row in curves for value in row.values())
        require(numbers, "curves must be a list of dicts of numbers, one for each epoch")

    def test_the_protocol_names_the_split(self) -> None:
        protocol = self.evaluate().protocol
        require(protocol.get("split"), "the protocol must name the split of the metrics, as protocol['split']")

    def test_the_backbone_is_unchanged(self) -> None:
        subject = self.subject()
        before = {name: value.clone() for name, value in subject.backbone().state_dict().items()}
        self.evaluate(subject)
        after = subject.backbone().state_dict()
        unchanged = all(torch.equal(value, after[name]) for name, value in before.items())
        require(unchanged and not subject.backbone().training, "train only a copy of the backbone")

    def test_features_labels_and_images_are_not_modified(self) -> None:
        """Check that an evaluation changes no features, labels or images: all evaluators share these tensors."""
        subject = self.subject()
        before = {name: tensor.clone() for name, tensor in subject.tensors()}
        self.evaluate(subject)
        for name, tensor in subject.tensors():
            require(torch.equal(tensor, before[name]), f"an evaluator must not modify {name}: other evaluators read it")

    def test_it_is_deterministic_and_uses_no_global_randomness(self) -> None:
        first, evaluator, subject = self.evaluate(), self.build(), self.subject()
        with no_global_randomness("an evaluator"):
            again = evaluator.evaluate(subject)
        require(dict(first.metrics) == dict(again.metrics), "the same run must give equal metrics")

    def test_test_labels_change_no_choice(self) -> None:
        first, subject = self.evaluate(), self.subject()
        test = subject._splits["test"]
        assert test.labels is not None
        subject._splits["test"] = Split(test.images, test.labels.roll(1), masks=test.masks)
        other = self.evaluate(subject)
        require(
            dict(first.protocol) == dict(other.protocol),
            "the protocol, with every choice in it, must not depend on test labels",
        )
