"""Mutants of methods: every conformance test fails for a component that violates it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy
import torch
from mutants import Mutants, MutantTests
from torch import Tensor, nn

import sslkit

MUTANTS = Mutants()


class ValidMethod(sslkit.Method):
    """Valid method: one network encodes all views."""

    api = 2

    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        outputs = self.encode(batch)
        parts = [self.loss_weights[name] * self.losses[name](outputs).total for name in self.active_losses(batch.epoch)]
        total = torch.stack(parts).sum()
        return sslkit.MethodOutput(total, {"total": total.detach()})

    def encode(self, batch: sslkit.Batch) -> sslkit.ViewOutputs:
        by_view = [self.backbone(view) for group in batch.views for view in group]
        return self.outputs(batch, self.heads["head"], by_view)

    def outputs(self, batch: sslkit.Batch, head: sslkit.Head, features: list[Tensor]) -> sslkit.ViewOutputs:
        result = head(torch.cat(features))
        embeddings, logits = result.embedding.chunk(len(features)), result.logits[0].chunk(len(features))
        branch = sslkit.BranchOutputs(tuple(features), embeddings, (logits,), head.classify)
        return sslkit.ViewOutputs({"student": branch}, batch.global_views, batch.index, batch.step, batch.epoch)


class ValidRotation(sslkit.Method):
    """Valid method with its own objective, which reads pixels: predicts the number of quarter turns of each view."""

    api = 2
    own_objective = True
    needs = frozenset({"images"})

    def __init__(self, options: Any, context: sslkit.Context, parts: sslkit.Parts) -> None:
        super().__init__(options, context, parts)
        self.classifier = nn.Linear(context.feature_dim, 4)

    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        views = batch.views[0].flatten(0, 1)
        turned = torch.cat([views.rot90(turns, (2, 3)) for turns in range(4)])
        target = torch.arange(4, device=turned.device).repeat_interleave(len(views))
        return sslkit.MethodOutput(nn.functional.cross_entropy(self.classifier(self.backbone(turned)), target))


class ValidTokenMethod(sslkit.Method):
    """Valid method with its own objective, which reads tokens: predicts a masked patch from the visible ones."""

    api = 2
    own_objective = True
    needs = frozenset({"tokens", "fixed_size", "logits"})

    def __init__(self, options: Any, context: sslkit.Context, parts: sslkit.Parts) -> None:
        super().__init__(options, context, parts)
        self.context = context
        self.mask_token = nn.Parameter(torch.zeros(context.feature_dim))

    def scheduled(self, step: int) -> dict[str, Tensor]:
        count = (self.context.view_size // self.backbone.patch_size) ** 2
        generator = sslkit.seeded_generator(self.context.seed, "methods", step)
        masks = torch.rand(self.context.batch_size, count, generator=generator) < 0.5
        return {"mask": self.context.own_images(masks)}

    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        views, mask = batch.views[0], batch.scheduled["mask"].repeat(len(batch.views[0]), 1)
        tokens = self.backbone.tokens(views.flatten(0, 1), mask=mask, mask_token=self.mask_token)
        (logits,) = self.heads["head"](tokens.features).logits
        return sslkit.MethodOutput(tokens.patches.square().mean() + logits.square().mean())


@MUTANTS.fails("test_needs_are_known")
class MethodWithAnUnknownNeed(ValidMethod):
    needs: Any = frozenset({"pixels"})


@MUTANTS.fails("test_needs_name_what_the_method_reads")
class MethodThatReadsMapsWithoutNeedingThem(ValidRotation):
    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        (maps,) = self.backbone.feature_maps(batch.views[0].flatten(0, 1)).values()
        return sslkit.MethodOutput(super().forward(batch).loss + maps.square().mean())


@MUTANTS.fails("test_a_method_that_needs_no_images_trains_with_features")
class MethodThatReadsPixelsWithoutNeedingThem(ValidRotation):
    needs: Any = frozenset()


@MUTANTS.fails("test_loss_is_a_finite_scalar")
class MethodWithATermThatHasGradient(ValidMethod):
    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        total = super().forward(batch).loss
        return sslkit.MethodOutput(total, {"total": total})


@MUTANTS.fails("test_backbone_and_heads_are_attributes")
class MethodThatRenamesHeads(ValidMethod):
    def __init__(self, options: Any, context: sslkit.Context, parts: sslkit.Parts) -> None:
        super().__init__(options, context, parts)
        self.heads = {"other": parts.heads["head"], **self.heads}


@MUTANTS.fails("test_gradients_reach_backbone_and_head")
class MethodThatDetachesTheBackbone(ValidMethod):
    def encode(self, batch: sslkit.Batch) -> sslkit.ViewOutputs:
        with torch.no_grad():
            features = [self.backbone(view) for group in batch.views for view in group]
        return self.outputs(batch, self.heads["head"], features)


@MUTANTS.fails("test_heads_receive_all_views_in_one_call")
class MethodThatCallsTheHeadForEachGroup(ValidMethod):
    def encode(self, batch: sslkit.Batch) -> sslkit.ViewOutputs:
        by_group = [ValidMethod.encode(self, replace(batch, views=(group,))) for group in batch.views]
        branches = [outputs.student for outputs in by_group]
        student = sslkit.BranchOutputs(
            tuple(view for branch in branches for view in branch.features),
            tuple(view for branch in branches for view in branch.embeddings),
            (tuple(view for branch in branches for view in branch.logits[0]),),
            self.heads["head"].classify,
        )
        return replace(by_group[0], branches={"student": student})


@MUTANTS.fails("test_losses_receive_every_announced_branch")
class MethodWithAMissingBranch(ValidMethod):
    branches = frozenset({"student", "teacher"})


@MUTANTS.fails("test_loss_weights_are_applied")
class MethodThatIgnoresWeights(ValidMethod):
    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        outputs = self.encode(batch)
        total = torch.stack([self.losses[name](outputs).total for name in self.active_losses(batch.epoch)]).sum()
        return sslkit.MethodOutput(total)


@MUTANTS.fails("test_losses_start_at_their_start_epoch")
class MethodThatIgnoresStartEpochs(ValidMethod):
    def active_losses(self, epoch: int) -> list[str]:
        return list(self.losses)


@MUTANTS.fails("test_branches_can_classify_queued_embeddings")
class MethodWithoutClassify(ValidMethod):
    def encode(self, batch: sslkit.Batch) -> sslkit.ViewOutputs:
        outputs = super().encode(batch)
        return replace(outputs, branches={"student": replace(outputs.student, classify=None)})


@MUTANTS.fails("test_works_on_any_device_without_a_device_sync")
class MethodThatSyncs(ValidMethod):
    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        result = super().forward(batch)
        if result.loss > 1e9:
            raise RuntimeError("too much")
        return result


@MUTANTS.fails("test_frozen_parameters_get_no_gradient")
class MethodThatSetsFrozenGradients(ValidMethod):
    def __init__(self, options: Any, context: sslkit.Context, parts: sslkit.Parts) -> None:
        super().__init__(options, context, parts)
        self.frozen = nn.Parameter(torch.ones(()), requires_grad=False)

    def after_step(self) -> None:
        self.frozen.grad = torch.ones_like(self.frozen)


@MUTANTS.fails("test_global_random_state_is_not_used")
class MethodThatUsesGlobalRandomness(ValidMethod):
    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        numpy.random.rand()
        return super().forward(batch)


@MUTANTS.fails("test_state_dict_restores_the_full_state")
class MethodWithUnsavedState(ValidMethod):
    steps = 0

    def after_step(self) -> None:
        self.steps += 1

    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        return sslkit.MethodOutput((1 + self.steps) * super().forward(batch).loss)


@MUTANTS.fails("test_constructor_neither_seeds_nor_draws_except_for_initial_weights")
class MethodThatDrawsFromNumpyInItsConstructor(ValidMethod):
    def __init__(self, options: Any, context: sslkit.Context, parts: sslkit.Parts) -> None:
        super().__init__(options, context, parts)
        numpy.random.rand()


@MUTANTS.fails("test_gradients_reach_every_image")
class MethodThatDetachesHalfOfTheImages(ValidMethod):
    def encode(self, batch: sslkit.Batch) -> sslkit.ViewOutputs:
        outputs, half = super().encode(batch), len(batch.index) // 2

        def part(tensor: torch.Tensor) -> torch.Tensor:
            return torch.cat([tensor[:half], tensor[half:].detach()])

        embeddings, (logits,) = outputs.student.embeddings, outputs.student.logits
        branch = replace(outputs.student, embeddings=tuple(map(part, embeddings)), logits=(tuple(map(part, logits)),))
        return replace(outputs, branches={"student": branch})


@MUTANTS.fails("test_works_with_any_number_of_views")
class MethodThatNeedsLocalViews(ValidMethod):
    def encode(self, batch: sslkit.Batch) -> sslkit.ViewOutputs:
        global_views, local_views = batch.views
        return super().encode(replace(batch, views=(global_views, local_views)))


@MUTANTS.fails("test_works_with_any_number_of_views")
class MethodThatEncodesTheFirstTwoGroups(ValidMethod):
    def encode(self, batch: sslkit.Batch) -> sslkit.ViewOutputs:
        return super().encode(replace(batch, views=batch.views[:2]))


@MUTANTS.fails("test_inputs_are_not_modified")
class MethodThatModifiesTheIndex(ValidMethod):
    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        batch.index.add_(1)
        return super().forward(batch)


@MUTANTS.fails("test_no_graph_is_kept_after_a_step")
class MethodThatKeepsItsLoss(ValidMethod):
    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        result = super().forward(batch)
        self.last = result.loss
        return result


@MUTANTS.fails("test_steps_of_a_phase_run_the_same_operators")
class MethodWithANumberForEachStep(ValidMethod):
    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        return sslkit.MethodOutput(super().forward(batch).loss * (1 + 0.01 * batch.step))


class TestMutants(MutantTests):
    kind = "method"
    valid = (ValidMethod, ValidRotation, ValidTokenMethod)
    mutants = MUTANTS
