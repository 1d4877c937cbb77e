"""Conformance tests for losses."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from sslkit.assembly.needs import missing_views, visible_views
from sslkit.contracts.loss import BranchOutputs, Loss, LossOutput, ViewOutputs
from sslkit.contracts.schedule import as_tensors
from sslkit.device.step_trace import PHASE_ADVICE, StepTrace, sampled_steps
from sslkit.errors import SslkitError
from sslkit.testing.base import no_global_randomness, require, require_known_needs, works_or_refuses
from sslkit.testing.fake_device import fake_device
from sslkit.testing.global_batches import GlobalBatchTests
from sslkit.testing.graphs import require_every_image, require_no_kept_graph
from sslkit.testing.loss_inputs import RandomBranch, map_tensors, named_tensors, tensors_of


class LossTests(GlobalBatchTests):
    """Conformance tests for a loss. Set ``component`` and, if needed, ``options`` and ``invariances``.

    Attributes:
        invariances: see ``GlobalBatchTests``.
    """

    component: ClassVar[type[Loss]]

    def test_needs_are_known(self) -> None:
        require_known_needs("loss", self.component.needs)

    def test_a_loss_that_needs_no_head_reads_only_features(self) -> None:
        """Check that a loss works without a head, unless ``needs`` contains embeddings or logits."""
        if self.component.needs & {"embeddings", "logits"}:
            return
        facts: dict[str, Any] = {"embedding_dim": 0, "classifiers": ()}
        outputs = self.view_outputs(self.random_branches(**facts), **facts)
        branches = {name: BranchOutputs(branch.features) for name, branch in outputs.branches.items()}
        loss = self.build(**facts)
        try:
            loss(replace(outputs, branches=branches))
        except (AssertionError, SslkitError):
            raise
        except Exception as error:
            cause = f"without a head, which is not in its needs, the loss raises {type(error).__name__}: {error}"
            raise AssertionError(f'{cause}; add "embeddings" or "logits" to needs if it reads them') from error

    def test_prepare_depends_only_on_the_initial_outputs(self) -> None:
        """Prepare two losses with equal outputs, and check that their states are equal and the outputs unchanged."""
        if not self.component.needs_initial_outputs:
            return
        outputs = self.initial_outputs()
        one, other = self.make(self.make_context()), self.make(self.make_context())
        with no_global_randomness("prepare"):
            one.prepare(outputs)
            other.prepare(outputs)
        same = all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
        require(same, "prepare must set equal values for equal outputs")
        changed = [
            name
            for (name, tensor), (_, before) in zip(tensors_of(outputs), tensors_of(self.initial_outputs()), strict=True)
            if not torch.equal(tensor, before)
        ]
        require(not changed, f"prepare must not modify the outputs, but it changes {', '.join(changed)}")

    def test_loss_is_a_finite_scalar(self) -> None:
        for step in range(3):
            result = self.build()(self.view_outputs(self.random_branches(step), step))
            require(isinstance(result, LossOutput), "forward must return a LossOutput")
            require(bool(result.total.isfinite()), f"the loss must be finite, not {result.total.item()}")
            for name, value in result.terms.items():
                require(bool(value.isfinite()), f"the term {name!r} must be finite, not {value.item()}")
            expected, actual = len(self.make_context().classifiers), len(result.per_classifier)
            require(actual in (0, expected), f"per_classifier must have {expected} losses or none, not {actual}")

    def test_logit_temperature_is_positive(self) -> None:
        value = self.build().logit_temperature
        valid = isinstance(value, (int, float)) and 0 < value < math.inf
        require(valid, f"logit_temperature must be a positive number, not {value!r}")

    def test_float64_inputs_give_a_float64_loss(self) -> None:
        total = self.build()(self.view_outputs(self.random_branches())).total
        require(total.dtype == torch.float64, f"float64 inputs must give a float64 loss, not {total.dtype}")

    def test_loss_is_computed_in_float32_under_autocast(self) -> None:
        loss, other = self.build().float(), self.build().float()
        outputs = self.view_outputs(self.random_branches(dtype=torch.bfloat16))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = other(outputs).total
        outside = loss(outputs.widened()).total
        require(inside.dtype == torch.float32, f"under autocast the loss must be float32, not {inside.dtype}")
        require(torch.equal(inside, outside), "under autocast the loss must equal the loss in float32")

    def test_gradients_are_finite_and_reach_every_view(self) -> None:
        branches = self.random_branches()
        self.build()(self.view_outputs(branches)).total.backward()
        for view, leaf in enumerate(self._leaves_of_read_views(branches["student"])):
            gradient = leaf.grad
            if view == 0 and self.component.first_view_is_target:
                reached = gradient is not None and bool(gradient.any())
                require(not reached, "a gradient reaches view 0: detach it, or leave out first_view_is_target")
                continue
            require(gradient is not None and bool(gradient.abs().sum() > 0), f"no gradient reaches view {view}")
            finite = gradient is not None and bool(gradient.isfinite().all())
            require(finite, f"the gradient of view {view} is not finite")

    def test_gradients_reach_every_image(self) -> None:
        """Check that a gradient reaches either every image of a view or none.

        ``test_gradients_are_finite_and_reach_every_view`` reports views without any gradient.
        """
        reached = torch.zeros(self.make_context().view_count, self.make_context().batch_size, dtype=torch.bool)
        for seed in range(3):
            branches = self.random_branches(seed)
            self.build()(self.view_outputs(branches)).total.backward()
            for view, leaf in enumerate(self.leaves(branches["student"])):
                if leaf.grad is not None:
                    reached[view] |= leaf.grad.any(1)
        for view, images in enumerate(reached.tolist()):
            require_every_image(images, f"no gradient reaches view {view} of the images")

    def test_works_with_any_number_of_views(self) -> None:
        """Check the loss with each number of views that its ``min_views`` and other attributes allow."""
        _, expected = self._total_and_last_gradient()
        checked = 0
        for views, global_views in ((1, 1), (2, 2), (3, 1), (3, 3), (6, 2)):
            context = self.make_context(view_count=views, global_view_count=global_views)
            if missing_views(self.component, context):
                continue
            checked += 1
            case = f"with {views} views, of which {global_views} are global,"
            with works_or_refuses(f"{case} the loss", "declare the views that it reads, such as min_views = 2"):
                total, reached = self._total_and_last_gradient(view_count=views, global_view_count=global_views)
                require(bool(total.isfinite()), f"{case} the loss must be finite, not {total.item()}")
                require(reached or not expected, f"{case} no gradient reaches the last view")
        require(checked, "min_views, max_views and min_global_views must allow 1, 2, 3 or 6 views")

    def _total_and_last_gradient(self, **facts: Any) -> tuple[Tensor, bool]:
        branches = self.random_branches(**facts)
        total = self.build(**facts)(self.view_outputs(branches, **facts)).total
        total.backward()
        gradient = self._leaves_of_read_views(branches["student"], **facts)[-1].grad
        return total, gradient is not None and bool(gradient.any())

    def _leaves_of_read_views(self, student: RandomBranch, **facts: Any) -> list[Tensor]:
        """Return a leaf tensor for each view that the loss reads."""
        return self.leaves(student)[: visible_views(self.component, self.make_context(**facts)).view_count]

    def test_equal_views_give_a_finite_loss_and_gradient(self) -> None:
        branches = self.random_branches(dtype=torch.float32)
        student = branches["student"]
        with torch.no_grad():
            for branch in branches.values():
                for own, first in ((branch.features, student.features[0]), (branch.embeddings, student.embeddings[0])):
                    for view in own:
                        view.copy_(first)
        total = self.build().float()(self.view_outputs(branches)).total
        total.backward()
        require(bool(total.isfinite()), f"if all views are equal, the loss must be finite, not {total.item()}")
        for leaf in self.leaves(student):
            finite = leaf.grad is None or bool(leaf.grad.isfinite().all())
            require(
                finite, "if all views are equal, the gradient must be finite; the gradient of a square root at 0 is not"
            )

    def test_inputs_are_not_modified(self) -> None:
        """Check that the loss does not write into its inputs, because all losses read the same tensors."""
        loss = self.build()
        for step in range(3):
            outputs = self.view_outputs(self.random_branches(step), step)
            before = {name: tensor.detach().clone() for name, tensor in named_tensors(outputs)}
            loss(outputs)
            changed = [name for name, tensor in named_tensors(outputs) if not torch.equal(tensor, before[name])]
            require(not changed, f"the loss must not modify its inputs, but it changes {', '.join(changed)}")

    def test_no_graph_is_kept_after_a_step(self) -> None:
        loss = self.build()
        require_no_kept_graph(
            "the loss",
            lambda mark, step: loss(map_tensors(self.view_outputs(self.random_branches(step), step), mark)).total,
        )

    def test_no_gradient_reaches_the_teacher(self) -> None:
        branches = self.random_branches()
        self.build()(self.view_outputs(branches)).total.backward()
        for leaf in (*branches["teacher"].embeddings, *branches["teacher"].features):
            require(leaf.grad is None or not bool(leaf.grad.any()), "the teacher's outputs are targets: detach them")

    def test_global_random_state_is_not_used(self) -> None:
        loss, outputs = self.build(), self.view_outputs(self.random_branches())
        with no_global_randomness("the loss"):
            loss(outputs)

    def test_state_dict_restores_the_full_state(self) -> None:
        """Restore a loss from a state dict without ``prepare``, and check that it continues bit-identically."""
        one, other = self.build(), self.build(seed=1, prepare=False)
        for step in range(3):
            one(self.view_outputs(self.random_branches(step), step))
        other.load_state_dict(one.state_dict())
        for step in range(3, 6):
            outputs = self.view_outputs(self.random_branches(step), step)
            same = torch.equal(one(outputs).total, other(outputs).total)
            require(same, "after load_state_dict the loss continues differently: keep all state in buffers")

    def test_works_on_any_device_without_a_device_sync(self) -> None:
        if self.component.syncs_device:
            return
        loss, random_branches = self.build().float(), self.random_branches(dtype=torch.float32)
        outputs = self.view_outputs(random_branches)
        with fake_device(loss) as (device, (moved,)):
            prototypes = [device.tensor(matrix) for matrix in random_branches["student"].prototypes]

            def classify(embedding: Tensor) -> tuple[Tensor, ...]:
                return tuple(embedding @ matrix.T for matrix in prototypes)

            moved_branches = map_tensors(outputs, device.tensor).branches
            branches = {name: replace(branch, classify=classify) for name, branch in moved_branches.items()}
            index = device.tensor(outputs.index)
            for step in range(3):
                total = moved(ViewOutputs(branches, outputs.global_views, index, step)).total
                require(total.device.type == "cuda", "the loss must be on the device of its inputs")

    def test_steps_of_a_phase_run_the_same_operators(self) -> None:
        """Check that all steps with equal ``phase(step)`` run the same operators, as a replayed CUDA graph requires."""
        traces: dict[Any, StepTrace] = {}
        for step in sampled_steps(self.make_context().total_steps):
            loss, outputs = self.build(), self.view_outputs(self.random_branches(), step)
            scheduled = as_tensors(loss.scheduled(step), outputs.index.device, torch.float64)
            before = traces.get(loss.phase(step))
            with StepTrace(None if before is None else before.operations) as trace:
                loss(replace(outputs, scheduled=scheduled))
            trace.end()
            require(not trace.change, f"in step {step}, {trace.change}: {PHASE_ADVICE}")
            traces[loss.phase(step)] = trace
