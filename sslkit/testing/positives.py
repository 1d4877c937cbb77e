"""Conformance tests for rules that choose positives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from sslkit.contracts.positives import Positives
from sslkit.testing.base import ComponentTests, no_global_randomness, require, works_or_refuses

Prepared = Mapping[str, Tensor]


class PositivesTests(ComponentTests):
    """Conformance tests for a rule that chooses positives. Set ``component`` and, if needed, ``options``.

    Attributes:
        images: int, number of training images.
    """

    component: ClassVar[type[Positives]]
    draws_weights = False
    images: ClassVar[int] = 64

    def build(self, images: int | None = None) -> Positives:
        """Build the rule for a training set of ``images`` images."""
        positives: Positives = self.make(self.make_context(training_images=images or self.images))
        return positives

    def features(self, images: int | None = None) -> Tensor:
        """Return the features that ``prepare`` receives: four groups of similar rows."""
        if not self.component.needs_features:
            return torch.empty(0, 0)
        generator = torch.Generator().manual_seed(0)
        count = images or self.images
        groups = 3 * torch.eye(4, 12)[torch.arange(count) % 4]
        return groups + torch.randn(count, 12, generator=generator)

    def index(self) -> Tensor:
        """Return the image indices of a batch. An image may occur more than once."""
        return torch.randint(self.images, (48,), generator=torch.Generator().manual_seed(1))

    def draw(self, positives: Positives, prepared: Prepared, seed: int = 0) -> Tensor:
        """Draw the positives of the images in ``index()``, with a generator seeded with ``seed``."""
        return positives.draw(prepared, self.index(), torch.Generator().manual_seed(seed))

    def test_count_is_declared(self) -> None:
        count = self.build().count
        require(type(count) is int and count >= 0, f"count must be an int of at least 0, not {count!r}")

    def test_positives_are_indices_of_training_images(self) -> None:
        positives = self.build()
        prepared = positives.prepare(self.features())
        for seed in range(5):
            drawn = self.draw(positives, prepared, seed)
            expected, found = (len(self.index()), positives.count), tuple(drawn.shape)
            require(found == expected, f"draw returns the shape {found}, not [B, count] = {expected}")
            require(drawn.dtype == torch.int64, f"draw must return int64, not {drawn.dtype}")
            inside = bool(((drawn >= 0) & (drawn < self.images)).all())
            require(inside, f"positives must be indices of training images, 0 to {self.images - 1}")

    def test_prepared_values_are_tensors_on_the_cpu(self) -> None:
        """Check that ``prepare`` returns CPU tensors, because checkpoints contain them."""
        prepared = self.build().prepare(self.features())
        require(isinstance(prepared, Mapping), f"prepare must return a mapping, not {type(prepared).__name__}")
        for name, value in prepared.items():
            valid = isinstance(value, Tensor) and value.device.type == "cpu"
            require(valid, f"the prepared value {name!r} must be a tensor on the CPU")

    def test_prepare_gives_equal_values_for_equal_features(self) -> None:
        """Check that ``prepare`` returns equal values for equal features, because every process calls ``prepare``."""
        one, other = (self.build().prepare(self.features()) for _ in range(2))
        tensors = [name for name, value in one.items() if isinstance(value, Tensor)]
        same = one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in tensors)
        require(same, "prepare must return equal values for equal features")

    def test_same_generator_gives_the_same_positives(self) -> None:
        positives = self.build()
        prepared = positives.prepare(self.features())
        same = torch.equal(self.draw(positives, prepared), self.draw(positives, prepared))
        require(same, "equal generators must give equal positives: a resumed run draws them again")

    def test_draws_depend_on_the_prepared_values_only(self) -> None:
        """Check that ``draw`` uses only the prepared values, because a resumed run does not call ``prepare``."""
        positives = self.build()
        prepared = positives.prepare(self.features())
        expected = self.draw(positives, prepared)
        try:
            drawn = self.draw(self.build(), prepared)
        except Exception as error:
            raise AssertionError(f"without prepare, as in a resumed run, draw raises {error!r}") from error
        require(torch.equal(drawn, expected), "without prepare, as in a resumed run, draw returns other positives")

    def test_global_random_state_is_not_used(self) -> None:
        positives, features = self.build(), self.features()
        with no_global_randomness("the rule"):
            self.draw(positives, positives.prepare(features))

    def test_inputs_are_not_modified(self) -> None:
        positives, features, index = self.build(), self.features(), self.index()
        prepared = positives.prepare(features)
        require(torch.equal(features, self.features()), "prepare must not modify the features")
        before = {name: value.clone() for name, value in prepared.items() if isinstance(value, Tensor)}
        positives.draw(prepared, index, torch.Generator().manual_seed(0))
        changed = [name for name, value in before.items() if not torch.equal(value, prepared[name])]
        require(not changed, f"draw must not modify the prepared values {', '.join(changed)}")
        require(torch.equal(index, self.index()), "draw must not modify the indices")

    def test_few_images_work_or_are_refused(self) -> None:
        for images in (2, 3):
            with works_or_refuses(f"with {images} training images, the rule"):
                positives = self.build(images)
                prepared = positives.prepare(self.features(images))
                drawn = positives.draw(prepared, torch.arange(images), torch.Generator().manual_seed(0))
                require(bool((drawn < images).all()), f"with {images} training images, positives must be among them")
