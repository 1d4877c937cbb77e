"""Mutants of optimizers: every conformance test fails for a component that violates it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from mutants import Mutants, MutantTests

import sslkit

MUTANTS = Mutants()


class ValidOptimizer(sslkit.Optimizer):
    """Valid optimizer: SGD with momentum."""

    api = 2

    def build(self, groups: tuple[sslkit.ParameterGroup, ...]) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            [
                {
                    "params": list(group.parameters),
                    "weight_decay": 0.1 if group.decay else 0.0,
                    "lr": 0.05 * group.lr_scale,
                }
                for group in groups
            ],
            lr=0.05,
            momentum=0.5,
        )

    def schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.context.total_steps)


@MUTANTS.fails("test_every_parameter_is_optimized_once")
class OptimizerWithoutBiases(ValidOptimizer):
    def build(self, groups: tuple[sslkit.ParameterGroup, ...]) -> torch.optim.Optimizer:
        return super().build(tuple(group for group in groups if group.decay))


@MUTANTS.fails("test_training_decreases_the_loss")
class OptimizerThatIncreasesTheLoss(ValidOptimizer):
    def build(self, groups: tuple[sslkit.ParameterGroup, ...]) -> torch.optim.Optimizer:
        parameters = [{"params": list(group.parameters), "lr": 0.05 * group.lr_scale} for group in groups]
        return torch.optim.SGD(parameters, maximize=True)


@MUTANTS.fails("test_learning_rate_is_never_negative_nor_always_zero")
class OptimizerWithANegativeLearningRate(ValidOptimizer):
    def schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - 0.1 * step)

    def build(self, groups: tuple[sslkit.ParameterGroup, ...]) -> torch.optim.Optimizer:
        parameters = [{"params": list(group.parameters), "lr": 0.05 * group.lr_scale} for group in groups]
        return torch.optim.SGD(parameters)


@MUTANTS.fails("test_groups_without_decay_have_no_weight_decay")
class OptimizerThatDecaysBiases(ValidOptimizer):
    def build(self, groups: tuple[sslkit.ParameterGroup, ...]) -> torch.optim.Optimizer:
        parameters = [{"params": list(group.parameters), "lr": 0.05 * group.lr_scale} for group in groups]
        return torch.optim.SGD(parameters, weight_decay=0.1)


@MUTANTS.fails("test_learning_rates_are_scaled")
class OptimizerThatIgnoresTheScale(ValidOptimizer):
    def build(self, groups: tuple[sslkit.ParameterGroup, ...]) -> torch.optim.Optimizer:
        return super().build(tuple(replace(group, lr_scale=1.0) for group in groups))


@MUTANTS.fails("test_learning_rates_are_scaled")
class OptimizerWhoseScheduleIgnoresTheScale(ValidOptimizer):
    def schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=40)


@MUTANTS.fails("test_step_accepts_a_closure")
class OptimizerThatIgnoresTheClosure(ValidOptimizer):
    def build(self, groups: tuple[sslkit.ParameterGroup, ...]) -> torch.optim.Optimizer:
        return _SgdWithoutClosure(
            [
                {
                    "params": list(group.parameters),
                    "weight_decay": 0.1 * group.decay,
                    "lr": 0.05 * group.lr_scale,
                }
                for group in groups
            ]
        )


class _SgdWithoutClosure(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:
        return super().step()


@MUTANTS.fails("test_parameters_without_a_gradient_are_not_changed")
class OptimizerThatFillsMissingGradients(ValidOptimizer):
    def build(self, groups: tuple[sslkit.ParameterGroup, ...]) -> torch.optim.Optimizer:
        optimizer = super().build(groups)

        def fill(*_: Any) -> None:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is None:
                        parameter.grad = torch.ones_like(parameter)

        optimizer.register_step_pre_hook(fill)
        return optimizer


@MUTANTS.fails("test_state_dict_restores_the_full_state")
class OptimizerWithUnsavedScheduleState(ValidOptimizer):
    def schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        return _UnsavedSchedule(optimizer)


class _UnsavedSchedule(torch.optim.lr_scheduler.LRScheduler):
    calls = 0

    def get_lr(self) -> list[float]:
        self.calls += 1
        return [rate / self.calls for rate in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass


@MUTANTS.fails("test_global_random_state_is_not_used")
class OptimizerThatUsesGlobalRandomness(ValidOptimizer):
    def build(self, groups: tuple[sslkit.ParameterGroup, ...]) -> torch.optim.Optimizer:
        optimizer = super().build(groups)
        optimizer.register_step_post_hook(lambda *_: torch.rand(1))
        return optimizer


@MUTANTS.fails("test_constructor_neither_seeds_nor_draws_except_for_initial_weights")
class OptimizerThatDrawsInItsConstructor(ValidOptimizer):
    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        torch.rand(1)


@MUTANTS.fails("test_a_capturable_optimizer_accepts_a_tensor_as_learning_rate")
class OptimizerThatReadsItsLearningRate(ValidOptimizer):
    capturable = True


class TestMutants(MutantTests):
    kind = "optimizer"
    valid = (ValidOptimizer,)
    mutants = MUTANTS
