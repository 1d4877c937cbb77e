"""Of methods: each promise of the kit has a mutant that breaks it, and it alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy
import pytest
import torch
from torch import nn

import sslkit

MUTANTS: list[tuple[str, type]] = []
"""The promise that is broken, and what breaks it."""


def breaks(promise: str) -> Callable[[type], type]:
    def remember(mutant: type) -> type:
        MUTANTS.append((promise, mutant))
        return mutant

    return remember


class GoodMethod(sslkit.Method):
    """Every view through one network."""

    api = 1

    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        seen = self.outputs(batch)
        parts = [self.weights[name] * self.losses[name](seen).total for name in self.started(batch.epoch)]
        total = torch.stack(parts).sum()
        return sslkit.MethodOutput(total, {"total": total.detach()})

    def outputs(self, batch: sslkit.Batch) -> sslkit.ViewOutputs:
        features = tuple(self.backbone(view) for group in batch.views for view in group)
        head = self.heads["head"]
        made = [head(feature) for feature in features]
        logits = tuple(own.logits[0] for own in made)
        branch = sslkit.BranchOutputs(features, tuple(own.embedding for own in made), (logits,), head.classify)
        return sslkit.ViewOutputs({"student": branch}, batch.global_views, batch.index, batch.step, batch.epoch)


@breaks("test_it_gives_a_finite_scalar")
class MethodThatLogsGradients(GoodMethod):
    """Good otherwise."""

    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        total = super().forward(batch).loss
        return sslkit.MethodOutput(total, {"total": total})


@breaks("test_it_has_the_parts_it_was_given")
class MethodThatRenamesHeads(GoodMethod):
    """Good otherwise."""

    def __init__(self, options: Any, context: sslkit.Context, parts: sslkit.Parts) -> None:
        super().__init__(options, context, parts)
        self.heads = {"other": parts.heads["head"], **self.heads}


@breaks("test_gradients_reach_backbone_and_head")
class MethodThatForgetsTheBackbone(GoodMethod):
    """Good otherwise."""

    def outputs(self, batch: sslkit.Batch) -> sslkit.ViewOutputs:
        views = tuple(group.detach() for group in batch.views)
        with torch.no_grad():
            features = [self.backbone(view) for group in views for view in group]
        seen = super().outputs(batch)
        made = [self.heads["head"](feature) for feature in features]
        branch = replace(
            seen.student,
            embeddings=tuple(own.embedding for own in made),
            logits=(tuple(own.logits[0] for own in made),),
        )
        return replace(seen, branches={"student": branch})


@breaks("test_losses_are_given_every_branch_it_announces")
class MethodThatPromisesATeacher(GoodMethod):
    """Good otherwise."""

    branches = frozenset({"student", "teacher"})


@breaks("test_a_loss_counts_by_its_weight")
class MethodThatWeighsAllAlike(GoodMethod):
    """Good otherwise."""

    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        seen = self.outputs(batch)
        total = torch.stack([self.losses[name](seen).total for name in self.started(batch.epoch)]).sum()
        return sslkit.MethodOutput(total)


@breaks("test_a_loss_joins_at_its_epoch")
class MethodThatStartsEveryLoss(GoodMethod):
    """Good otherwise."""

    def started(self, epoch: int) -> list[str]:
        return list(self.losses)


@breaks("test_losses_can_classify_what_they_have_kept")
class MethodThatKeepsClassifyToItself(GoodMethod):
    """Good otherwise."""

    def outputs(self, batch: sslkit.Batch) -> sslkit.ViewOutputs:
        seen = super().outputs(batch)
        return replace(seen, branches={"student": replace(seen.student, classify=None)})


@breaks("test_it_works_on_any_device_without_waiting_for_it")
class MethodThatLooksAtItsLoss(GoodMethod):
    """Good otherwise."""

    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        made = super().forward(batch)
        if made.loss > 1e9:
            raise RuntimeError("too much")
        return made


@breaks("test_a_frozen_copy_is_not_trained")
class MethodThatTouchesWhatIsFrozen(GoodMethod):
    """Good otherwise."""

    def __init__(self, options: Any, context: sslkit.Context, parts: sslkit.Parts) -> None:
        super().__init__(options, context, parts)
        self.frozen = nn.Parameter(torch.ones(()), requires_grad=False)

    def after_step(self) -> None:
        self.frozen.grad = torch.ones_like(self.frozen)


@breaks("test_it_uses_no_global_randomness")
class MethodWithNoise(GoodMethod):
    """Good otherwise."""

    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        numpy.random.rand()
        return super().forward(batch)


@breaks("test_its_state_is_in_its_state_dict")
class MethodWithAHiddenCount(GoodMethod):
    """Good otherwise."""

    steps = 0

    def after_step(self) -> None:
        self.steps += 1

    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        return sslkit.MethodOutput((1 + self.steps) * super().forward(batch).loss)


@breaks("test_replaced_weights_count_from_the_first_step")
class MethodWithAStaleCopy(GoodMethod):
    """Good otherwise."""

    def __init__(self, options: Any, context: sslkit.Context, parts: sslkit.Parts) -> None:
        super().__init__(options, context, parts)
        self.register_buffer("first", next(parts.backbone.parameters()).detach().clone())

    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        return sslkit.MethodOutput(super().forward(batch).loss + self.first.square().sum())


def test_what_is_good_keeps_every_promise(broken) -> None:
    assert broken("method", GoodMethod) == {}


@pytest.mark.parametrize(("promise", "mutant"), MUTANTS, ids=lambda value: getattr(value, "__name__", None))
def test_a_mutant_breaks_its_promise_and_no_other(promise: str, mutant: type, broken) -> None:
    found = broken("method", mutant)
    assert list(found) == [promise.removeprefix("test_").replace("_", " ")], found


def test_every_promise_has_a_mutant(promised) -> None:
    assert promised("method") <= {promise for promise, _ in MUTANTS}
