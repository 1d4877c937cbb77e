"""Mutants of losses: every conformance test fails for a component that violates it."""

from __future__ import annotations

from typing import Any

import numpy
import torch
from loss_mutants import INPUT_MUTANTS, ValidLoss, ValidLossOfTwoViews
from mutants import Mutants, MutantTests
from torch import Tensor

import sslkit

MUTANTS = Mutants(INPUT_MUTANTS)


@MUTANTS.fails("test_contract_version_is_declared")
class LossWithAnUnknownContractVersion(ValidLoss):
    api = 99


@MUTANTS.fails("test_every_option_is_documented")
class LossWithAnUndocumentedOption(ValidLoss):
    class Options(ValidLoss.Options):
        undocumented: int = 1


@MUTANTS.fails("test_logit_temperature_is_positive")
class LossWithZeroTemperature(ValidLoss):
    logit_temperature = 0


@MUTANTS.fails("test_loss_is_a_finite_scalar")
class LossWithAnInfiniteTerm(ValidLoss):
    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        result = super().forward(views)
        return sslkit.LossOutput(result.total, {"usage": result.total / 0})


@MUTANTS.fails("test_float64_inputs_give_a_float64_loss")
class LossInFloat32(ValidLoss):
    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        result = super().forward(views)
        total = result.total
        return sslkit.LossOutput(total + 0 * total.detach() if total.dtype == torch.float32 else _Narrow.apply(total))


class _Narrow(torch.autograd.Function):
    """Cast to float32 in the forward pass only, so that no other test fails because of rounding."""

    @staticmethod
    def forward(context: Any, value: Tensor) -> Tensor:
        return value.float()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient.double()


@MUTANTS.fails("test_loss_is_computed_in_float32_under_autocast")
class LossInBfloat16(ValidLoss):
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


@MUTANTS.fails("test_gradients_are_finite_and_reach_every_view")
class LossThatDetachesAView(ValidLoss):
    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        student = views.student
        embeddings = tuple(e.detach() if i == 3 else e for i, e in enumerate(student.embeddings))
        logits = tuple(tuple(v.detach() if i == 3 else v for i, v in enumerate(own)) for own in student.logits)
        branch = sslkit.BranchOutputs(student.features, embeddings, logits)
        return super().forward(sslkit.ViewOutputs({"student": branch}, views.global_views, views.index))


@MUTANTS.fails("test_gradients_are_finite_and_reach_every_view")
class LossThatTrainsItsTargetView(ValidLoss):
    first_view_is_target = True


@MUTANTS.fails("test_no_gradient_reaches_the_teacher")
class LossThatTrainsTheTeacher(ValidLoss):
    needs = frozenset({"embeddings", "logits", "teacher"})

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        result = super().forward(views)
        pull = (views.student.embeddings[0] - views.teacher.embeddings[0]).square().sum(1).mean()
        return sslkit.LossOutput(result.total + pull)


@MUTANTS.fails("test_global_random_state_is_not_used")
class LossThatSeedsNumpy(ValidLoss):
    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        numpy.random.seed(0)
        return super().forward(views)


@MUTANTS.fails("test_state_dict_restores_the_full_state")
class LossWithUnsavedState(ValidLoss):
    calls = 0

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        self.calls += 1
        result = super().forward(views)
        return sslkit.LossOutput(result.total * self.calls)


@MUTANTS.fails("test_works_on_any_device_without_a_device_sync")
class LossThatSyncs(ValidLoss):
    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        result = super().forward(views)
        return result if result.total.item() < 1e9 else sslkit.LossOutput(result.total * 0)


@MUTANTS.fails("test_works_on_any_device_without_a_device_sync")
class LossWithATensorOnTheHost(ValidLoss):
    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.scale = torch.ones(context.embedding_dim, dtype=torch.float64)

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        result = super().forward(views)
        return sslkit.LossOutput(result.total + (self.scale.to(result.total.dtype) - 1).sum())


@MUTANTS.fails("test_several_processes_give_the_loss_of_the_global_batch")
class LossThatIgnoresOtherProcesses(ValidLoss):
    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        self.world = sslkit.World()
        return super().forward(views)


@MUTANTS.fails("test_declared_invariances_hold")
class LossThatDependsOnTheFirstImage(ValidLoss):
    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        result = super().forward(views)
        embeddings = self.world.gather(views.student.embeddings[0])
        return sslkit.LossOutput(result.total + embeddings[0].square().sum() + embeddings[0, 0])


@MUTANTS.fails("test_constructor_neither_seeds_nor_draws_except_for_initial_weights")
class LossThatSeedsNumpyInItsConstructor(ValidLoss):
    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        numpy.random.seed(0)


@MUTANTS.fails("test_needs_are_known")
class LossWithAnUnknownNeed(ValidLoss):
    needs = ValidLoss.needs | {"patience"}


@MUTANTS.fails("test_steps_of_a_phase_run_the_same_operators")
class LossWithANumberForEachStep(ValidLoss):
    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        result = super().forward(views)
        return sslkit.LossOutput(result.total * (1 + 0.01 * views.step))


class TestMutants(MutantTests):
    kind = "loss"
    valid = (ValidLoss, ValidLossOfTwoViews)
    mutants = MUTANTS
