"""Of heads: each promise of the kit has a mutant that breaks it, and it alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

import sslkit

MUTANTS: list[tuple[str, type]] = []
"""The promise that is broken, and what breaks it."""


def breaks(promise: str) -> Callable[[type], type]:
    def remember(mutant: type) -> type:
        MUTANTS.append((promise, mutant))
        return mutant

    return remember


class GoodHead(sslkit.Head):
    """A linear layer, BatchNorm, and prototypes."""

    api = 1

    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.embedding_dim, self.classifiers = 6, (5,)
        self.projection = nn.Sequential(nn.Linear(context.feature_dim, 6), nn.BatchNorm1d(6))
        self.prototypes = nn.Parameter(torch.randn(5, 6))

    def embed(self, features: Tensor) -> Tensor:
        return normalize(self.projection(features).float())

    def classify(self, embedding: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast(embedding.device.type, enabled=False):
            return (embedding @ self.prototypes.T,)


@breaks("test_outputs_are_as_announced")
class HeadOfAnotherWidth(GoodHead):
    """Good otherwise."""

    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.embedding_dim = 7


@breaks("test_embeddings_with_classifiers_have_length_1")
class HeadOfAnyLength(GoodHead):
    """Good otherwise."""

    def embed(self, features: Tensor) -> Tensor:
        return 2 * super().embed(features)


@breaks("test_classify_gives_the_logits_of_any_embeddings")
class HeadThatClassifiesOtherwise(GoodHead):
    """Good otherwise."""

    def forward(self, features: Tensor) -> sslkit.HeadOutput:
        output = super().forward(features)
        return sslkit.HeadOutput(output.embedding, tuple(10 * logits for logits in output.logits))


@breaks("test_autocast_keeps_classification_in_float32")
class HeadInHalf(GoodHead):
    """Good otherwise."""

    def classify(self, embedding: Tensor) -> tuple[Tensor, ...]:
        return (embedding @ self.prototypes.T,)


@breaks("test_gradients_are_finite_and_reach_every_parameter")
class HeadWithAnIdleLayer(GoodHead):
    """Good otherwise."""

    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.idle = nn.Linear(2, 2)


@breaks("test_in_eval_mode_each_image_stands_alone")
class HeadThatCentresTheBatch(GoodHead):
    """Good otherwise."""

    def embed(self, features: Tensor) -> Tensor:
        return super().embed(features - features.mean(0))


@breaks("test_it_uses_no_global_randomness")
class HeadWithNoise(GoodHead):
    """Good otherwise."""

    def embed(self, features: Tensor) -> Tensor:
        if features.device.type == "cpu" and not self.training:
            torch.rand(1)
        return super().embed(features)


@breaks("test_its_state_is_in_its_state_dict")
class HeadWithAHiddenCount(GoodHead):
    """Good otherwise."""

    steps = 0

    def after_step(self) -> None:
        self.steps += 1

    def embed(self, features: Tensor) -> Tensor:
        return super().embed(features + 0.1 * self.steps * features.roll(1, 1))


@breaks("test_it_works_on_any_device_without_waiting_for_it")
class HeadThatWaits(GoodHead):
    """Good otherwise."""

    def embed(self, features: Tensor) -> Tensor:
        return super().embed(features if bool(features.isfinite().all()) else features * 0)


def test_what_is_good_keeps_every_promise(broken) -> None:
    assert broken("head", GoodHead) == {}


@pytest.mark.parametrize(("promise", "mutant"), MUTANTS, ids=lambda value: getattr(value, "__name__", None))
def test_a_mutant_breaks_its_promise_and_no_other(promise: str, mutant: type, broken) -> None:
    found = broken("head", mutant)
    assert list(found) == [promise.removeprefix("test_").replace("_", " ")], found


def test_every_promise_has_a_mutant(promised) -> None:
    assert promised("head") <= {promise for promise, _ in MUTANTS}
