"""What is promised of losses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from sslkit.contracts.context import Context, World
from sslkit.contracts.loss import BranchOutputs, Loss, LossOutput, ViewOutputs
from sslkit.testing.accelerator import accelerator
from sslkit.testing.base import ComponentTests, no_global_randomness, require
from sslkit.testing.given import Given, lengthen, permute_classes, permute_images, rotate
from sslkit.testing.worlds import together

Invariance = Literal["images", "global views", "classes", "rotation", "scale"]

TOLERANCE = 1e-6

ASK_THE_WORLD = (
    "ask context.world for what the loss needs of the global batch (gather, sum, max), "
    "or set uses_global_batch = False and say so in its documentation"
)


class LossTests(ComponentTests):
    """Subclass with ``component`` and, where needed, ``options``."""

    component: ClassVar[type[Loss]]

    invariances: ClassVar[frozenset[Invariance]] = frozenset({"images"})
    """What may be changed without changing the loss: the order of images, of global views, of classes; all embeddings,
    by one rotation; the length of all embeddings."""

    def make_context(self, **facts: Any) -> Context:
        """As for every kind; with classifiers where the loss reads logits."""
        own = {} if "logits" in self.component.needs else {"classifiers": ()}
        return super().make_context(**own | facts)

    def build(self, world: World | None = None, **facts: Any) -> Loss:
        """The loss in float64."""
        built: Loss = self.make(self.make_context(world=world or World(), **facts))
        return built.double()

    def given(self, seed: int = 0, dtype: torch.dtype = torch.float64) -> dict[str, Given]:
        """Outputs of student and teacher, one step's."""
        context = self.make_context()
        student = Given(context, context.view_count, seed, dtype)
        teacher = Given(context, context.global_view_count, seed + 1000, dtype)
        teacher.prototypes = student.prototypes
        return {"student": student, "teacher": teacher}

    def outputs(self, given: dict[str, Given], step: int = 0, part: slice = slice(None)) -> ViewOutputs:
        """What the loss is given for a part of the images."""
        context = self.make_context()
        branches = {name: own.branch(part) for name, own in given.items()}
        if "teacher" not in self.component.needs:
            del branches["teacher"]
        index = torch.arange(context.batch_size)[part]
        return ViewOutputs(branches, context.global_view_count, index, step, step // context.steps_per_epoch)

    def inputs(self, given: Given) -> list[Tensor]:
        """Of a branch, what the loss reads."""
        needs = self.component.needs
        read = given.embeddings if needs & {"embeddings", "logits"} or not needs - {"teacher"} else given.features
        return list(read)

    def test_it_gives_a_finite_scalar(self) -> None:
        for step in range(3):
            result = self.build()(self.outputs(self.given(step), step))
            require(isinstance(result, LossOutput), "forward must return a LossOutput")
            require(bool(result.total.isfinite()), f"the loss must be finite, not {result.total.item()}")
            for name, value in result.terms.items():
                require(bool(value.isfinite()), f"the term {name!r} must be finite, not {value.item()}")
            count = len(self.make_context().classifiers)
            told = len(result.per_classifier)
            require(told in (0, count), f"per_classifier must tell all {count} classifiers' losses, not {told}")

    def test_its_logit_temperature_is_positive(self) -> None:
        found = self.build().logit_temperature
        right = isinstance(found, (int, float)) and 0 < found < math.inf
        require(right, f"logit_temperature must be a positive number, not {found!r}")

    def test_float64_stays_float64(self) -> None:
        total = self.build()(self.outputs(self.given())).total
        require(total.dtype == torch.float64, f"float64 outputs must give a float64 loss, not {total.dtype}")

    def test_it_computes_in_float32_under_autocast(self) -> None:
        loss = self.build().float()
        given = self.given(dtype=torch.bfloat16)
        outputs = self.outputs(given)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = self.build().float()(outputs).total
        outside = loss(outputs.widened()).total
        require(inside.dtype == torch.float32, f"under autocast the loss must be float32, not {inside.dtype}")
        require(torch.equal(inside, outside), "under autocast the loss must be what float32 gives")

    def test_gradients_are_finite_and_reach_every_view(self) -> None:
        given = self.given()
        self.build()(self.outputs(given)).total.backward()
        for view, leaf in enumerate(self.inputs(given["student"])):
            found = leaf.grad
            require(found is not None and bool(found.abs().sum() > 0), f"no gradient reaches view {view}")
            require(found is not None and bool(found.isfinite().all()), f"the gradient of view {view} is not finite")

    def test_no_gradient_reaches_the_teacher(self) -> None:
        given = self.given()
        self.build()(self.outputs(given)).total.backward()
        for leaf in (*given["teacher"].embeddings, *given["teacher"].features):
            require(leaf.grad is None or not bool(leaf.grad.any()), "the teacher's outputs are targets: detach them")

    def test_it_uses_no_global_randomness(self) -> None:
        loss, outputs = self.build(), self.outputs(self.given())
        with no_global_randomness("the loss"):
            loss(outputs)

    def test_its_state_is_in_its_state_dict(self) -> None:
        """Continued from a checkpoint, it must go on as if it had never stopped."""
        one, other = self.build(), self.make(self.make_context(), seed=1).double()
        for step in range(3):
            one(self.outputs(self.given(step), step))
        other.load_state_dict(one.state_dict())
        for step in range(3, 6):
            outputs = self.outputs(self.given(step), step)
            same = torch.equal(one(outputs).total, other(outputs).total)
            require(same, "loaded from its state_dict the loss goes on differently: keep its state in buffers")

    def test_it_works_on_any_device_without_waiting_for_it(self) -> None:
        if self.component.syncs_device:
            return
        loss, given = self.build().float(), self.given(dtype=torch.float32)
        outputs = self.outputs(given)
        with accelerator(loss) as (device, (moved,)):
            prototypes = [device.tensor(own) for own in given["student"].prototypes]

            def branch(own: BranchOutputs) -> BranchOutputs:
                return BranchOutputs(
                    tuple(map(device.tensor, own.features)),
                    tuple(map(device.tensor, own.embeddings)),
                    tuple(tuple(map(device.tensor, views)) for views in own.logits),
                    lambda embedding: tuple(embedding @ matrix.T for matrix in prototypes),
                )

            branches = {name: branch(own) for name, own in outputs.branches.items()}
            index = device.tensor(outputs.index)
            for step in range(3):
                total = moved(ViewOutputs(branches, outputs.global_views, index, step)).total
                require(total.device.type == "cuda", "the loss must be on the device of its inputs")

    def test_processes_together_give_the_loss_of_their_joined_batch(self) -> None:
        if not self.component.uses_global_batch:
            return
        steps = 3
        alone = [self.given(step) for step in range(steps)]
        loss = self.build()
        single = [loss(self.outputs(given, step)).total for step, given in enumerate(alone)]
        torch.stack(single).sum().backward()

        split = [self.given(step) for step in range(steps)]
        half = self.make_context().batch_size // 2

        def work(world: World) -> list[Tensor]:
            own = self.build(world)
            part = slice(world.rank * half, (world.rank + 1) * half)
            return [own(self.outputs(given, step, part)).total for step, given in enumerate(split)]

        means = [torch.stack(totals).mean() for totals in zip(*together(2, work), strict=True)]
        for step, (mean, whole) in enumerate(zip(means, single, strict=True)):
            close = torch.allclose(mean, whole, rtol=TOLERANCE, atol=TOLERANCE)
            told = f"{mean.item():.6f} in step {step}, one on both batches {whole.item():.6f}"
            require(close, f"two processes lose {told}: {ASK_THE_WORLD}")
        torch.stack(means).sum().backward()
        for given, other in zip(alone, split, strict=True):
            for leaf, twin in zip(self.inputs(given["student"]), self.inputs(other["student"]), strict=True):
                expected = leaf.grad if leaf.grad is not None else torch.zeros_like(leaf)
                found = twin.grad if twin.grad is not None else torch.zeros_like(twin)
                close = torch.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE)
                require(close, f"gradients of two processes are not those of one on both batches: {ASK_THE_WORLD}")

    def test_it_does_not_change_with_what_it_must_not_depend_on(self) -> None:
        changes: dict[Invariance, Callable[[dict[str, Given]], None]] = {
            "images": permute_images,
            "global views": self._swap_global_views,
            "classes": permute_classes,
            "rotation": rotate,
            "scale": lengthen,
        }
        unknown = sorted(self.invariances - set(changes))
        require(
            not unknown, f"invariances may hold {', '.join(map(repr, changes))}, not {', '.join(map(repr, unknown))}"
        )
        for name in sorted(self.invariances):
            given, changed = self.given(), self.given()
            with torch.no_grad():
                changes[name](changed)
            before, after = (self.build()(self.outputs(own)).total for own in (given, changed))
            close = torch.allclose(before, after, rtol=TOLERANCE, atol=TOLERANCE)
            require(close, f"the loss must not depend on {name}: {before.item():.6f} becomes {after.item():.6f}")

    def _swap_global_views(self, given: dict[str, Given]) -> None:
        count = self.make_context().global_view_count
        for own in given.values():
            for views in (own.features, own.embeddings):
                views[:count] = views[:count][::-1]
