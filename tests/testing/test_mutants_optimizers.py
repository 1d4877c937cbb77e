"""Of optimizers: each promise of the kit has a mutant that breaks it, and it alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import sslkit

MUTANTS: list[tuple[str, type]] = []
"""The promise that is broken, and what breaks it."""


def breaks(promise: str) -> Callable[[type], type]:
    def remember(mutant: type) -> type:
        MUTANTS.append((promise, mutant))
        return mutant

    return remember


class GoodOptimizer(sslkit.Optimizer):
    """SGD with momentum."""

    api = 1

    def build(self, groups: tuple[sslkit.ParameterGroup, ...]) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            [{"params": list(group.parameters), "weight_decay": 0.1 if group.decay else 0.0} for group in groups],
            lr=0.05,
            momentum=0.5,
        )

    def schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.context.total_steps)


@breaks("test_it_trains_every_parameter_once")
class OptimizerThatForgetsBiases(GoodOptimizer):
    """Good otherwise."""

    def build(self, groups: tuple[sslkit.ParameterGroup, ...]) -> torch.optim.Optimizer:
        return super().build(tuple(group for group in groups if group.decay))


@breaks("test_it_goes_downhill")
class OptimizerUphill(GoodOptimizer):
    """Good otherwise."""

    def build(self, groups: tuple[sslkit.ParameterGroup, ...]) -> torch.optim.Optimizer:
        parameters = [{"params": list(group.parameters)} for group in groups]
        return torch.optim.SGD(parameters, lr=0.05, maximize=True)


@breaks("test_the_learning_rate_is_never_negative_and_ends_no_higher_than_its_peak")
class OptimizerWithANegativeEnd(GoodOptimizer):
    """Good otherwise."""

    def schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - 0.1 * step)

    def build(self, groups: tuple[sslkit.ParameterGroup, ...]) -> torch.optim.Optimizer:
        return _Careless([{"params": list(group.parameters)} for group in groups], lr=0.05)


class _Careless(torch.optim.SGD):
    """Takes steps of a negative rate for steps of its size."""


@breaks("test_biases_and_norms_do_not_decay")
class OptimizerThatDecaysAll(GoodOptimizer):
    """Good otherwise."""

    def build(self, groups: tuple[sslkit.ParameterGroup, ...]) -> torch.optim.Optimizer:
        return torch.optim.SGD([p for group in groups for p in group.parameters], lr=0.05, weight_decay=0.1)


@breaks("test_a_step_takes_a_closure")
class OptimizerThatForgetsTheClosure(GoodOptimizer):
    """Good otherwise."""

    def build(self, groups: tuple[sslkit.ParameterGroup, ...]) -> torch.optim.Optimizer:
        return _Deaf(
            [{"params": list(group.parameters), "weight_decay": 0.1 * group.decay} for group in groups], lr=0.05
        )


class _Deaf(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:
        return super().step()


@breaks("test_parameters_without_a_gradient_stay_as_they_are")
class OptimizerThatMovesWhatHasNoGradient(GoodOptimizer):
    """Good otherwise."""

    def build(self, groups: tuple[sslkit.ParameterGroup, ...]) -> torch.optim.Optimizer:
        built = super().build(groups)

        def fill(*_: Any) -> None:
            for group in built.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is None:
                        parameter.grad = torch.ones_like(parameter)

        built.register_step_pre_hook(fill)
        return built


@breaks("test_its_state_is_in_its_state_dict")
class OptimizerWithAHiddenCount(GoodOptimizer):
    """Good otherwise."""

    def schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        return _Forgetful(optimizer)


class _Forgetful(torch.optim.lr_scheduler.LRScheduler):
    calls = 0

    def get_lr(self) -> list[float]:
        self.calls += 1
        return [0.05 / self.calls for _ in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass


@breaks("test_it_uses_no_global_randomness")
class OptimizerWithNoise(GoodOptimizer):
    """Good otherwise."""

    def build(self, groups: tuple[sslkit.ParameterGroup, ...]) -> torch.optim.Optimizer:
        built = super().build(groups)
        built.register_step_post_hook(lambda *_: torch.rand(1))
        return built


def test_what_is_good_keeps_every_promise(broken) -> None:
    assert broken("optimizer", GoodOptimizer) == {}


@pytest.mark.parametrize(("promise", "mutant"), MUTANTS, ids=lambda value: getattr(value, "__name__", None))
def test_a_mutant_breaks_its_promise_and_no_other(promise: str, mutant: type, broken) -> None:
    found = broken("optimizer", mutant)
    assert list(found) == [promise.removeprefix("test_").replace("_", " ")], found


def test_every_promise_has_a_mutant(promised) -> None:
    assert promised("optimizer") <= {promise for promise, _ in MUTANTS}
