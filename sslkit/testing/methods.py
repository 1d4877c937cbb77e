"""Conformance tests for methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sslkit.assembly.needs import missing_views
from sslkit.contracts.method import Method, MethodOutput
from sslkit.contracts.schedule import as_tensors
from sslkit.device.step_trace import PHASE_ADVICE, StepTrace, sampled_steps
from sslkit.recipe.objective_problems import PIXEL_NEEDS
from sslkit.testing.base import no_global_randomness, require, require_known_needs, works_or_refuses
from sslkit.testing.fake_device import fake_device
from sslkit.testing.graphs import require_every_image, require_no_kept_graph
from sslkit.testing.method_parts import MethodInputs, RecordingLoss, SmallBackbone, SmallTransformer


def _refuse(images: Tensor) -> Mapping[int, Tensor]:
    raise NotImplementedError("it has no feature maps")


class MethodTests(MethodInputs):
    """Conformance tests for a method. Set ``component`` and, if needed, ``options``.

    The tests use a small convolutional backbone, or a small transformer if the method needs tokens. A method that needs
    embeddings or logits gets a head. A method without its own objective gets a head, and one or two losses that read
    embeddings and logits.
    """

    component: ClassVar[type[Method]]

    def test_needs_are_known(self) -> None:
        require_known_needs("method", self.component.needs)

    def test_needs_name_what_the_method_reads(self) -> None:
        """Check that the method reads tokens and feature maps of the backbone only if ``needs`` declares them."""
        backbone = self.make_backbone()
        if "feature_maps" not in self.component.needs:
            object.__setattr__(backbone, "feature_maps", _refuse)
        try:
            self.build(backbone=backbone)(self.batch())
        except NotImplementedError as error:
            advice = 'add "tokens" or "feature_maps" to needs if the method reads them'
            raise AssertionError(f"{error}, because needs does not name it: {advice}") from error

    def test_a_method_that_needs_no_images_trains_with_features(self) -> None:
        """Check that a method works with features instead of views, unless ``needs`` declares that it reads pixels."""
        if self.component.needs & PIXEL_NEEDS:
            return
        try:
            self.build()(self.feature_batch())
        except Exception as error:
            cause = f"with features [V, B, D] instead of views, the method raises {type(error).__name__}: {error}"
            raise AssertionError(f'{cause}; add "images" to needs if it reads pixels') from error

    def test_loss_is_a_finite_scalar(self) -> None:
        result = self.build()(self.batch())
        require(isinstance(result, MethodOutput), "forward must return a MethodOutput")
        require(result.loss.ndim == 0, f"the loss must be a scalar, not of shape {tuple(result.loss.shape)}")
        require(bool(result.loss.isfinite()), f"the loss must be finite, not {result.loss.item()}")
        for name, value in result.terms.items():
            require(isinstance(value, Tensor) and value.ndim == 0, f"the term {name!r} must be a scalar tensor")
            require(not value.requires_grad, f"the term {name!r} has a gradient: detach it")

    def test_backbone_and_heads_are_attributes(self) -> None:
        method = self.build()
        own = isinstance(method.backbone, (SmallBackbone, SmallTransformer))
        require(own, "method.backbone must be the trained backbone")
        expected = ["head"] if self.has_head else []
        require(list(method.heads) == expected, "method.heads must map names to the heads of the recipe")

    def test_gradients_reach_backbone_and_head(self) -> None:
        method = self.build()
        method(self.batch()).loss.backward()
        parts: dict[str, nn.Module] = {"the backbone": method.backbone}
        if self.has_head:
            parts["the head"] = method.heads["head"]
        for part, module in parts.items():
            has_gradient = any(p.grad is not None and bool(p.grad.any()) for p in module.parameters())
            require(has_gradient, f"no gradient reaches {part}")
        for name, value in method.named_parameters():
            require(value.grad is None or bool(value.grad.isfinite().all()), f"the gradient of {name} is not finite")

    def test_gradients_reach_every_image(self) -> None:
        batch = self.batch()
        views = tuple(group.requires_grad_() for group in batch.views)
        method = self.build()
        for module in method.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()  # batch statistics would pass on gradients of other images
        method(replace(batch, views=views)).loss.backward()
        for group, own in enumerate(views):
            for view, images in enumerate([] if own.grad is None else own.grad.flatten(2).any(2).tolist()):
                require_every_image(images, f"no gradient reaches view {view} of group {group} of the images")

    def test_works_with_any_number_of_views(self) -> None:
        for global_views, local_views in ((2, ()), (3, ()), (2, (4,)), (1, (1, 2))):
            if "fixed_size" in self.component.needs and local_views:
                continue
            count = global_views + sum(local_views)
            if missing_views(self.component, self.make_context(view_count=count, global_view_count=global_views)):
                continue
            case = f"with {global_views} global views and {len(local_views)} groups of local views {local_views}"
            with works_or_refuses(f"{case}, the method"):
                method = self.build(view_count=count, global_view_count=global_views)
                loss = method(self.batch(0, global_views, local_views)).loss
                loss.backward()
                require(bool(loss.isfinite()), f"{case}, the loss must be finite, not {loss.item()}")
                if self.component.own_objective:
                    continue
                recorded = method.losses["agree"]
                assert isinstance(recorded, RecordingLoss)
                received = len(recorded.inputs[0].student.features) if recorded.inputs else count
                require(received == count, f"{case}, losses receive {received} views of the student, not {count}")

    def test_inputs_are_not_modified(self) -> None:
        method, batch = self.build(), self.batch()
        views, index = [group.clone() for group in batch.views], batch.index.clone()
        method(batch).loss.backward()
        method.after_step()
        same = all(map(torch.equal, views, batch.views)) and torch.equal(index, batch.index)
        require(same, "the method must not modify the views or the index of the batch")

    def test_no_graph_is_kept_after_a_step(self) -> None:
        method = self.build()

        def step(mark: Callable[[Tensor], Tensor], number: int) -> Tensor:
            batch = self.batch(number)
            views = tuple(mark(group.requires_grad_()) for group in batch.views)
            loss: Tensor = method(replace(batch, views=views)).loss
            for recorded in method.losses.values():
                assert isinstance(recorded, RecordingLoss)
                recorded.inputs.clear()
            return loss

        require_no_kept_graph("the method", step)

    def test_losses_receive_every_announced_branch(self) -> None:
        if self.component.own_objective:
            return
        method = self.build()
        method(self.batch())
        loss = method.losses["agree"]
        assert isinstance(loss, RecordingLoss)
        require(loss.inputs, "the method must call the losses of the recipe")
        actual, announced = sorted(loss.inputs[0].branches), sorted(method.branches)
        require(actual == announced, f"losses receive the branches {actual}, but method.branches is {announced}")

    def test_loss_weights_are_applied(self) -> None:
        if self.component.own_objective:
            return
        totals = []
        for weight in (0.0, 1.0, 3.0):
            method = self.build(losses={"agree": (1.0, 0), "again": (weight, 0)})
            totals.append(method(self.batch()).loss.item())
        once, thrice = totals[1] - totals[0], totals[2] - totals[0]
        require(once, "the second loss must be added to the total")
        proportional = abs(thrice - 3 * once) < 1e-3 * abs(once)
        require(proportional, f"a loss adds {once:.4g} with weight 1, but {thrice:.4g} with weight 3")

    def test_losses_start_at_their_start_epoch(self) -> None:
        if self.component.own_objective:
            return
        method = self.build(losses={"agree": (1.0, 0), "later": (1.0, 1)})
        later = method.losses["later"]
        assert isinstance(later, RecordingLoss)
        method(self.batch(0))
        require(not later.inputs, "a loss must not be called before its start_epoch")
        method(self.batch(self.make_context().steps_per_epoch))
        require(later.inputs, "a loss must be called from its start_epoch on")

    def test_branches_can_classify_queued_embeddings(self) -> None:
        """Check that ``classify`` returns the head's logits, because losses with a queue classify old embeddings."""
        if self.component.own_objective:
            return
        method = self.build()
        method(self.batch())
        loss = method.losses["agree"]
        assert isinstance(loss, RecordingLoss)
        for name, branch in loss.inputs[0].branches.items():
            expected = [views[0] for views in branch.logits]
            actual = branch.classify(branch.embeddings[0]) if branch.classify is not None else ()
            same = len(actual) == len(expected) and all(
                torch.allclose(one, other, atol=1e-5) for one, other in zip(actual, expected, strict=True)
            )
            require(same, f"classify of the branch {name!r} must give the logits of its head: set it to head.classify")

    def test_heads_receive_all_views_in_one_call(self) -> None:
        """Check that a head is called once, so that its BatchNorm normalises global and local views together."""
        method = self.build()
        rows: list[int] = []
        if self.has_head:
            method.heads["head"].register_forward_hook(lambda module, inputs, output: rows.append(len(inputs[0])))
        method(self.batch())
        require(
            len(rows) <= 1,
            f"the head is called {len(rows)} times, with {rows} features: concatenate the features of all views and "
            "call it once, as sslkit.forward_views does",
        )

    def test_frozen_parameters_get_no_gradient(self) -> None:
        method = self.build()
        self.train_step(method, 0)
        for name, value in method.named_parameters():
            require(value.requires_grad or value.grad is None, f"{name} is frozen, but has a gradient")

    def test_global_random_state_is_not_used(self) -> None:
        method = self.build()
        with no_global_randomness("the method"):
            method(self.batch())

    def test_state_dict_restores_the_full_state(self) -> None:
        one, other = self.build(), self.build(seed=1)
        for step in range(3):
            self.train_step(one, step)
        other.load_state_dict(one.state_dict())
        for step in range(3, 6):
            same = torch.equal(self.train_step(one, step), self.train_step(other, step))
            require(same, "after load_state_dict the method trains differently: keep all state in buffers")

    def test_steps_of_a_phase_run_the_same_operators(self) -> None:
        """Check that all steps with equal ``phase(step)`` run the same operators, as a replayed CUDA graph requires."""
        traces: dict[Any, StepTrace] = {}
        for step in sampled_steps(self.make_context().total_steps):
            method, batch = self.build(), self.batch(step)
            batch = replace(batch, scheduled=as_tensors(method.all_scheduled(step), batch.index.device))
            before = traces.get(method.phase(step))
            with StepTrace(None if before is None else before.operations) as trace:
                method(batch).loss.backward()
                method.after_backward(step)
                method.after_step()
            trace.end()
            require(not trace.change, f"in step {step}, {trace.change}: {PHASE_ADVICE}")
            traces[method.phase(step)] = trace

    def test_works_on_any_device_without_a_device_sync(self) -> None:
        batch = self.batch()
        with fake_device(self.build()) as (device, (method,)):
            views = tuple(map(device.tensor, batch.views))
            loss = method(replace(batch, views=views, index=device.tensor(batch.index))).loss
            method.after_step()
            require(loss.device.type == "cuda", "the loss must be on the device of the views")
