"""What a loss is given in its tests: random outputs of a branch, and what may be done to them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sslkit.contracts.context import Context
from sslkit.contracts.loss import BranchOutputs


class Given:
    """Random outputs of a branch for each view, of which gradients are asked.

    Attributes:
        features: ``[B, D]`` for each view.
        embeddings: ``[B, E]`` for each view; given to the loss with length 1 where there are classifiers.
        prototypes: ``[K, E]`` of each classifier; logits are cosines with them.
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
        """Logits of each classifier."""
        return tuple(embedding @ prototypes.T.to(embedding) for prototypes in self.prototypes)

    def branch(self, part: slice) -> BranchOutputs:
        """The outputs for a part of the images."""
        embeddings = [embedding[part] for embedding in self.embeddings]
        if self.prototypes:
            embeddings = [normalize(embedding) for embedding in embeddings]
        by_view = [self.classify(embedding) for embedding in embeddings]
        logits = tuple(zip(*by_view, strict=True)) if self.prototypes else ()
        return BranchOutputs(tuple(f[part] for f in self.features), tuple(embeddings), logits, self.classify)


def permute_images(given: dict[str, Given]) -> None:
    """Put the images in another order."""
    for own in given.values():
        for views in (own.features, own.embeddings):
            views[:] = [view.flip(0) for view in views]


def permute_classes(given: dict[str, Given]) -> None:
    """Put the classes in another order."""
    for own in given.values():
        own.prototypes = [prototypes.flip(0) for prototypes in own.prototypes]


def rotate(given: dict[str, Given]) -> None:
    """Rotate all embeddings, and prototypes with them."""
    for own in given.values():
        size = own.embeddings[0].shape[1]
        generator = torch.Generator().manual_seed(0)
        rotation, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
        own.embeddings = [embedding @ rotation for embedding in own.embeddings]
        own.prototypes = [prototypes @ rotation for prototypes in own.prototypes]


def lengthen(given: dict[str, Given]) -> None:
    """Make all embeddings three times as long."""
    for own in given.values():
        own.embeddings = [3 * embedding for embedding in own.embeddings]
