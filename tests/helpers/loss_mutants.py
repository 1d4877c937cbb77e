"""A valid loss, and mutants that violate the contract about inputs, gradients and graphs."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from mutants import Mutants
from torch import Tensor

import sslkit
from sslkit.contracts import options
from sslkit.testing.loss_inputs import map_tensors

INPUT_MUTANTS = Mutants()


class ValidLoss(sslkit.Loss):
    """Valid loss: distance between views plus negative entropy of the class usage over the global batch."""

    api = 2
    needs = frozenset({"embeddings", "logits"})
    min_views = 2

    class Options(options.Options):
        weight: float = 1.0
        """Weight of the entropy term, at least 0."""

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


class LossWithoutState(sslkit.Loss):
    """Squared distance of consecutive views plus a random number drawn in the constructor."""

    api = 2
    needs = frozenset({"embeddings"})
    min_views = 2

    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.shift = float(torch.rand(1))

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        embeddings = views.student.embeddings
        pairs = itertools.pairwise(embeddings)
        distance = torch.stack([(one - other).square().sum(1).mean() for one, other in pairs]).mean()
        return sslkit.LossOutput(distance + 0 * self.shift)


INPUT_MUTANTS.fails("test_constructor_neither_seeds_nor_draws_except_for_initial_weights")(LossWithoutState)


@INPUT_MUTANTS.fails("test_gradients_reach_every_image")
class LossThatDetachesHalfOfTheImages(ValidLoss):
    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        kept = (views.index < self.half)[:, None]
        return super().forward(map_tensors(views, lambda tensor: torch.where(kept, tensor, tensor.detach())))

    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.half = context.batch_size // 2


@INPUT_MUTANTS.fails("test_works_with_any_number_of_views")
class LossThatUnpacksFourViews(ValidLoss):
    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        first, second, third, fourth = views.student.embeddings
        apart = (first - second - third + fourth).square().sum(1).mean()
        return sslkit.LossOutput(super().forward(views).total + apart)


@INPUT_MUTANTS.fails("test_works_with_any_number_of_views")
class LossThatReadsTheFirstFourViews(ValidLoss):
    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        student = views.student
        logits = tuple(own[:4] for own in student.logits)
        branch = sslkit.BranchOutputs(student.features[:4], student.embeddings[:4], logits)
        return super().forward(sslkit.ViewOutputs({"student": branch}, views.global_views, views.index))


@INPUT_MUTANTS.fails("test_works_with_any_number_of_views")
class LossThatDoesNotDeclareItsTwoViews(ValidLoss):
    min_views = 1


@INPUT_MUTANTS.fails("test_works_with_any_number_of_views")
class LossThatNoRecipeSuits(ValidLoss):
    min_views = max_views = 4


class ValidLossOfTwoViews(ValidLoss):
    """Valid loss of exactly two global views."""

    max_views = 2
    global_views_only = True

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        first, second = views.student.embeddings
        return sslkit.LossOutput(super().forward(views).total + (first - second).square().sum(1).mean())


@INPUT_MUTANTS.fails("test_equal_views_give_a_finite_loss_and_gradient")
class LossWithASquareRootOfTheDistance(ValidLoss):
    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        first, second = views.student.embeddings[:2]
        distance = (first - second).square().sum(1).sqrt().mean()
        return sslkit.LossOutput(super().forward(views).total + distance)


@INPUT_MUTANTS.fails("test_equal_views_give_a_finite_loss_and_gradient")
class LossWithALogarithmOfTheDistance(ValidLoss):
    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        first, second = views.student.embeddings[:2]
        return sslkit.LossOutput(super().forward(views).total - (first - second).square().sum(1).log().mean())


@INPUT_MUTANTS.fails("test_inputs_are_not_modified")
class LossThatModifiesTheTeacher(ValidLoss):
    needs = ValidLoss.needs | {"teacher"}

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        views.teacher.embeddings[0].detach().mul_(2)
        return super().forward(views)


@INPUT_MUTANTS.fails("test_inputs_are_not_modified")
class LossThatModifiesFeatures(ValidLoss):
    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        views.student.features[0].detach().sub_(1)
        return super().forward(views)


@INPUT_MUTANTS.fails("test_inputs_are_not_modified")
class LossThatModifiesTheIndex(ValidLoss):
    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        views.index.add_(1)
        return super().forward(views)


@INPUT_MUTANTS.fails("test_no_graph_is_kept_after_a_step")
class LossThatKeepsItsTotals(ValidLoss):
    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.totals: list[Tensor] = []

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        result = super().forward(views)
        self.totals.append(result.total)
        return result


@INPUT_MUTANTS.fails("test_no_graph_is_kept_after_a_step")
class LossWithAMeanThatIsNotDetached(ValidLoss):
    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.register_buffer("centre", torch.zeros(()))

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        result = super().forward(views)
        mean = self.world.sum(views.student.embeddings[0].mean()) / self.world.size
        self.centre = (0.9 * self.centre + 0.1 * mean).to(result.total.dtype)
        return sslkit.LossOutput(result.total + self.centre)


@INPUT_MUTANTS.fails("test_a_loss_that_needs_no_head_reads_only_features")
class LossThatReadsEmbeddingsWithoutNeedingThem(sslkit.Loss):
    api = 2
    min_views = 2

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        embeddings = views.student.embeddings
        pairs = itertools.pairwise(embeddings)
        return sslkit.LossOutput(torch.stack([(one - other).square().sum(1).mean() for one, other in pairs]).mean())


class ValidPreparedLoss(ValidLoss):
    """Valid loss that also compares embeddings with the mean embedding of the initial network."""

    needs_initial_outputs = True

    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.register_buffer("initial", torch.zeros(context.embedding_dim))

    def prepare(self, outputs: sslkit.BranchOutputs) -> None:
        self.initial.copy_(outputs.embeddings[0].mean(0))

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        drift = (views.student.embeddings[0] - self.initial).square().sum(1).mean()
        return sslkit.LossOutput(super().forward(views).total + drift)


@INPUT_MUTANTS.fails("test_prepare_depends_only_on_the_initial_outputs")
class LossThatPreparesWithRandomNumbers(ValidPreparedLoss):
    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.register_buffer("noise", torch.zeros(()))

    def prepare(self, outputs: sslkit.BranchOutputs) -> None:
        super().prepare(outputs)
        generator = torch.Generator()
        generator.seed()
        self.noise.copy_(torch.rand((), generator=generator))


@INPUT_MUTANTS.fails("test_prepare_depends_only_on_the_initial_outputs")
class LossThatModifiesTheInitialOutputs(ValidPreparedLoss):
    def prepare(self, outputs: sslkit.BranchOutputs) -> None:
        super().prepare(outputs)
        outputs.embeddings[0].zero_()


@INPUT_MUTANTS.fails("test_state_dict_restores_the_full_state")
class LossThatPreparesUnsavedState(ValidPreparedLoss):
    def prepare(self, outputs: sslkit.BranchOutputs) -> None:
        self.shift = outputs.embeddings[0].sum().item()

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        return sslkit.LossOutput(super().forward(views).total + getattr(self, "shift", 0.0))
