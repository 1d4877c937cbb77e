"""Build losses and their random inputs, for the tests of losses, and change the inputs for the invariance test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sslkit.assembly.needs import visible_views
from sslkit.contracts.context import Context, World
from sslkit.contracts.loss import BranchOutputs, Loss, ViewOutputs
from sslkit.testing.base import ComponentTests


class RandomBranch:
    """Random outputs of a branch for each view. Features and embeddings are leaf tensors that require gradients.

    Attributes:
        features: list of tensors ``[B, D]``, one for each view.
        embeddings: list of tensors ``[B, E]``, one for each view. If there are classifiers, the loss receives
            L2-normalised embeddings.
        prototypes: list of tensors ``[K, E]``, one for each classifier. Logits are the cosine similarities of
            embeddings and prototypes.
    """

    def __init__(self, context: Context, views: int, seed: int, dtype: torch.dtype) -> None:
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

        batch = context.batch_size
        self.features = [draw(batch, context.feature_dim).requires_grad_() for _ in range(views)]
        self.embeddings = [draw(batch, context.embedding_dim).requires_grad_() for _ in range(views)]
        self.prototypes = [normalize(draw(count, context.embedding_dim)) for count in context.classifiers]

    def classify(self, embedding: Tensor) -> tuple[Tensor, ...]:
        """Return the logits ``[M, K]`` of each classifier for embeddings ``[M, E]``."""
        return tuple(embedding @ prototypes.T.to(embedding) for prototypes in self.prototypes)

    def outputs(self, images: slice) -> BranchOutputs:
        """Return the branch outputs for a slice of the images."""
        embeddings = [embedding[images] for embedding in self.embeddings]
        if self.prototypes:
            embeddings = [normalize(embedding) for embedding in embeddings]
        by_view = [self.classify(embedding) for embedding in embeddings]
        logits = tuple(zip(*by_view, strict=True)) if self.prototypes else ()
        return BranchOutputs(tuple(f[images] for f in self.features), tuple(embeddings), logits, self.classify)


class LossInputs(ComponentTests):
    """Base class of ``LossTests``: methods that build the loss under test and random inputs for it."""

    component: ClassVar[type[Loss]]

    def make_context(self, **facts: Any) -> Context:
        """Return the context of a small training run, with classifiers only if the loss reads logits.

        There are four views, or as many as the loss allows. ``facts`` replace attributes of the ``Context``, such as
        ``batch_size=4``.
        """
        loss = self.component
        own: dict[str, Any] = {} if "logits" in loss.needs else {"classifiers": ()}
        global_views = max(2, loss.min_global_views, loss.min_views if loss.global_views_only else 0)
        if loss.global_views_only and loss.max_views is not None:
            global_views = min(global_views, loss.max_views)
        views = max(4, loss.min_views, global_views)
        if not loss.global_views_only and loss.max_views is not None:
            views = min(views, loss.max_views)
        own |= {"view_count": views, "global_view_count": min(global_views, views)}
        return super().make_context(**own | facts)

    def build(self, world: World | None = None, seed: int = 0, prepare: bool = True, **facts: Any) -> Loss:
        """Build the loss in float64.

        Args:
            world: the simulated processes; None means one process.
            seed: seed of the loss's initial weights.
            prepare: whether to call ``prepare`` with random outputs if the loss sets ``needs_initial_outputs``. Pass
                False to build a loss like that of a resumed run, which restores a checkpoint instead.
            facts: attributes of the ``Context`` to replace; see ``make_context``.
        """
        context = visible_views(self.component, self.make_context(world=world or World(), **facts))
        loss: Loss = self.make(context, seed=seed)
        if prepare and self.component.needs_initial_outputs:
            loss.prepare(self.initial_outputs(**facts))
        return loss.double()

    def initial_outputs(self, **facts: Any) -> BranchOutputs:
        """Return the argument of the loss's ``prepare``: random outputs for all training images."""
        context = self.make_context(**facts)
        branch = RandomBranch(replace(context, batch_size=context.training_images), 1, 2000, torch.float32)
        branch.prototypes = RandomBranch(context, 1, 0, torch.float32).prototypes
        outputs = ViewOutputs({"student": branch.outputs(slice(None))}, 1, torch.arange(context.training_images))
        return replace(map_tensors(outputs, Tensor.detach).student, classify=None)

    def random_branches(
        self, seed: int = 0, dtype: torch.dtype = torch.float64, **facts: Any
    ) -> dict[str, RandomBranch]:
        """Return random outputs of student and teacher for all images of the global batch, keyed by branch name.

        ``facts`` replace attributes of the ``Context``; see ``make_context``.
        """
        context = self.make_context(**facts)
        student = RandomBranch(context, context.view_count, seed, dtype)
        teacher = RandomBranch(context, context.global_view_count, seed + 1000, dtype)
        teacher.prototypes = student.prototypes
        return {"student": student, "teacher": teacher}

    def view_outputs(
        self, branches: dict[str, RandomBranch], step: int = 0, images: slice = slice(None), **facts: Any
    ) -> ViewOutputs:
        """Return the input of the loss for a slice of the global batch.

        Args:
            branches: the outputs that ``random_branches`` returned.
            step: number of completed steps.
            images: slice of the images; by default all.
            facts: attributes of the ``Context`` to replace; see ``make_context``.
        """
        context = self.make_context(**facts)
        outputs = {name: branch.outputs(images) for name, branch in branches.items()}
        if "teacher" not in self.component.needs:
            del outputs["teacher"]
        index = torch.arange(context.batch_size)[images]
        return ViewOutputs(outputs, context.global_view_count, index, step, step // context.steps_per_epoch)

    def leaves(self, branch: RandomBranch) -> list[Tensor]:
        """Return the leaf tensors that the loss reads (embeddings or features), one for each view."""
        needs = self.component.needs
        reads_embeddings = needs & {"embeddings", "logits"} or not needs - {"teacher"}
        return list(branch.embeddings if reads_embeddings else branch.features)


def map_tensors(outputs: ViewOutputs, change: Callable[[Tensor], Tensor]) -> ViewOutputs:
    """Return a copy of ``outputs`` with ``change`` applied to the tensors of all branches."""

    def changed(branch: BranchOutputs) -> BranchOutputs:
        return replace(
            branch,
            features=tuple(map(change, branch.features)),
            embeddings=tuple(map(change, branch.embeddings)),
            logits=tuple(tuple(map(change, views)) for views in branch.logits),
        )

    return replace(outputs, branches={name: changed(branch) for name, branch in outputs.branches.items()})


def named_tensors(outputs: ViewOutputs) -> Iterator[tuple[str, Tensor]]:
    """Yield the name and the value of each tensor in ``outputs``."""
    for name, branch in outputs.branches.items():
        yield from ((f"{name}.{own}", tensor) for own, tensor in tensors_of(branch))
    yield "index", outputs.index


def tensors_of(branch: BranchOutputs) -> Iterator[tuple[str, Tensor]]:
    """Yield the name and the value of each tensor of a branch."""
    yield from ((f"features[{view}]", tensor) for view, tensor in enumerate(branch.features))
    yield from ((f"embeddings[{view}]", tensor) for view, tensor in enumerate(branch.embeddings))
    for classifier, views in enumerate(branch.logits):
        yield from ((f"logits[{classifier}][{view}]", tensor) for view, tensor in enumerate(views))


def reverse_images(branches: dict[str, RandomBranch]) -> None:
    """Reverse the order of the images in all branches, to test that a loss does not depend on this order."""
    for branch in branches.values():
        for views in (branch.features, branch.embeddings):
            views[:] = [view.flip(0) for view in views]


def reverse_first_views(branches: dict[str, RandomBranch], count: int) -> None:
    """Reverse the order of the first ``count`` views in all branches, to test that a loss does not depend on it."""
    for branch in branches.values():
        for views in (branch.features, branch.embeddings):
            views[:count] = views[:count][::-1]


def reverse_classes(branches: dict[str, RandomBranch]) -> None:
    """Reverse the order of the classes in all branches, to test that a loss does not depend on this order."""
    for branch in branches.values():
        branch.prototypes = [prototypes.flip(0) for prototypes in branch.prototypes]


def rotate_embeddings(branches: dict[str, RandomBranch]) -> None:
    """Rotate all embeddings and prototypes by one matrix, to test that a loss does not depend on rotations."""
    for branch in branches.values():
        size = branch.embeddings[0].shape[1]
        generator = torch.Generator().manual_seed(0)
        rotation, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
        branch.embeddings = [embedding @ rotation for embedding in branch.embeddings]
        branch.prototypes = [prototypes @ rotation for prototypes in branch.prototypes]


def scale_embeddings(branches: dict[str, RandomBranch]) -> None:
    """Multiply all embeddings by 3, to test that a loss does not depend on their scale."""
    for branch in branches.values():
        branch.embeddings = [3 * embedding for embedding in branch.embeddings]
