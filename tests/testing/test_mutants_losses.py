"""Of losses: each promise of the kit has a mutant that breaks it, and it alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor

import sslkit
from sslkit.contracts import options

MUTANTS: list[tuple[str, type]] = []
"""The promise that is broken, and what breaks it."""


def breaks(promise: str) -> Callable[[type], type]:
    def remember(mutant: type) -> type:
        MUTANTS.append((promise, mutant))
        return mutant

    return remember


class GoodLoss(sslkit.Loss):
    """Views of an image are to be alike, and classes used alike over the global batch."""

    api = 1
    needs = frozenset({"embeddings", "logits"})

    class Options(options.Options):
        weight: float = 1.0
        """Weight of the second part."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.weight, self.world = options.weight, context.world
        self.register_buffer("mean", torch.zeros(context.embedding_dim))

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        student = views.student
        pairs = [(student.embeddings[i] - student.embeddings[j]).square().sum(1).mean() for i, j in views.pairs()]
        shares = [self.world.sum(own[0].softmax(1).mean(0)) / self.world.size for own in student.logits]
        usage = torch.stack([(share * share.log()).sum() for share in shares]).sum()
        centre = self.world.sum(student.embeddings[0].detach().mean(0)) / self.world.size
        drift = (student.embeddings[1] - self.mean).square().sum(1).mean()
        self.mean = (0.9 * self.mean + 0.1 * centre).to(self.mean.dtype)
        return sslkit.LossOutput(torch.stack(pairs).mean() + self.weight * usage + drift, {"usage": usage})


@breaks("test_it_states_its_contract_version")
class LossOfTheFuture(GoodLoss):
    """Good otherwise."""

    api = 99


@breaks("test_every_option_is_documented")
class LossWithASilentOption(GoodLoss):
    """Good otherwise."""

    class Options(GoodLoss.Options):
        silent: int = 1


@breaks("test_its_logit_temperature_is_positive")
class LossOfNoTemperature(GoodLoss):
    """Good otherwise."""

    logit_temperature = 0


@breaks("test_it_gives_a_finite_scalar")
class LossWithAnEndlessTerm(GoodLoss):
    """Good otherwise."""

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        result = super().forward(views)
        return sslkit.LossOutput(result.total, {"usage": result.total / 0})


@breaks("test_float64_stays_float64")
class LossInFloat32(GoodLoss):
    """Good otherwise."""

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        result = super().forward(views)
        total = result.total
        return sslkit.LossOutput(total + 0 * total.detach() if total.dtype == torch.float32 else _Narrow.apply(total))


class _Narrow(torch.autograd.Function):
    """To float32 for the value alone, so that no other promise suffers from its rounding."""

    @staticmethod
    def forward(context: Any, value: Tensor) -> Tensor:
        return value.float()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient.double()


@breaks("test_it_computes_in_float32_under_autocast")
class LossInHalf(GoodLoss):
    """Good otherwise."""

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        result = super().forward(views)
        embedding = views.student.embeddings[0]
        if embedding.dtype != torch.float32 or embedding.device.type != "cpu":
            return result
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = (embedding @ embedding.T).float().mean()
        return sslkit.LossOutput(result.total + rounded)

    def __call__(self, *arguments: Any, **named: Any) -> sslkit.LossOutput:
        inside = torch.is_autocast_enabled("cpu")
        result = super().__call__(*arguments, **named)
        return sslkit.LossOutput(result.total + 1) if inside else result


@breaks("test_gradients_are_finite_and_reach_every_view")
class LossThatForgetsAView(GoodLoss):
    """Good otherwise."""

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        student = views.student
        kept = tuple(e.detach() if i == 3 else e for i, e in enumerate(student.embeddings))
        logits = tuple(tuple(v.detach() if i == 3 else v for i, v in enumerate(own)) for own in student.logits)
        branch = sslkit.BranchOutputs(student.features, kept, logits)
        return super().forward(sslkit.ViewOutputs({"student": branch}, views.global_views, views.index))


@breaks("test_no_gradient_reaches_the_teacher")
class LossThatTrainsTheTeacher(GoodLoss):
    """Good otherwise."""

    needs = frozenset({"embeddings", "logits", "teacher"})

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        result = super().forward(views)
        pull = (views.student.embeddings[0] - views.teacher.embeddings[1]).square().sum(1).mean()
        return sslkit.LossOutput(result.total + pull)


@breaks("test_it_uses_no_global_randomness")
class LossThatSeeds(GoodLoss):
    """Good otherwise."""

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        numpy.random.seed(0)
        return super().forward(views)


@breaks("test_its_state_is_in_its_state_dict")
class LossWithAHiddenCount(GoodLoss):
    """Good otherwise."""

    calls = 0

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        self.calls += 1
        result = super().forward(views)
        return sslkit.LossOutput(result.total * self.calls)


@breaks("test_it_works_on_any_device_without_waiting_for_it")
class LossThatWaits(GoodLoss):
    """Good otherwise."""

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        result = super().forward(views)
        return result if result.total.item() < 1e9 else sslkit.LossOutput(result.total * 0)


@breaks("test_it_works_on_any_device_without_waiting_for_it")
class LossWithATensorOnTheHost(GoodLoss):
    """Good otherwise."""

    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.scale = torch.ones(context.embedding_dim, dtype=torch.float64)

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        result = super().forward(views)
        return sslkit.LossOutput(result.total + (self.scale.to(result.total.dtype) - 1).sum())


@breaks("test_processes_together_give_the_loss_of_their_joined_batch")
class LossOfALocalBatch(GoodLoss):
    """Good otherwise."""

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        self.world = sslkit.World()
        return super().forward(views)


@breaks("test_it_does_not_change_with_what_it_must_not_depend_on")
class LossOfTheFirstImage(GoodLoss):
    """Good otherwise."""

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        result = super().forward(views)
        whole = self.world.gather(views.student.embeddings[0])
        return sslkit.LossOutput(result.total + whole[0].square().sum() + whole[0, 0])


def test_what_is_good_keeps_every_promise(broken) -> None:
    assert broken("loss", GoodLoss) == {}


@pytest.mark.parametrize(("promise", "mutant"), MUTANTS, ids=lambda value: getattr(value, "__name__", None))
def test_a_mutant_breaks_its_promise_and_no_other(promise: str, mutant: type, broken) -> None:
    found = broken("loss", mutant)
    assert list(found) == [promise.removeprefix("test_").replace("_", " ")], found


def test_every_promise_has_a_mutant(promised) -> None:
    assert promised("loss") <= {promise for promise, _ in MUTANTS}
