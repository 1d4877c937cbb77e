"""Random outputs of student and teacher for the tests of losses, and changes to them for the invariance test."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sslkit.contracts.context import Context
from sslkit.contracts.loss import BranchOutputs


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
