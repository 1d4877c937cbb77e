"""Head: features to embeddings and logits."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from sslkit.contracts.component import Component
from sslkit.contracts.context import Context
from sslkit.contracts.options import Options


@dataclass(frozen=True)
class HeadOutput:
    """What a head makes of features ``[B, D]``.

    Attributes:
        embedding: ``[B, E]``; L2-normalised where the head has classifiers.
        logits: ``[B, K]`` for each classifier; empty where the head has none.
    """

    embedding: Tensor
    logits: tuple[Tensor, ...] = ()


class Head(Component, nn.Module):
    """Projects features, and classifies them where it has classifiers (prototypes)."""

    embedding_dim: int
    """E, the length of one embedding."""

    classifiers: tuple[int, ...] = ()
    """K of each classifier, in the order of ``HeadOutput.logits``."""

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__()

    @abstractmethod
    def embed(self, features: Tensor) -> Tensor:
        """Embeddings ``[B, E]`` of features ``[B, D]``."""

    def classify(self, embedding: Tensor) -> tuple[Tensor, ...]:
        """Logits ``[B, K]`` of each classifier for embeddings ``[B, E]``, which may come from a queue."""
        return ()

    def forward(self, features: Tensor) -> HeadOutput:
        """Embedding and logits of features ``[B, D]``."""
        embedding = self.embed(features)
        return HeadOutput(embedding, self.classify(embedding))

    def after_backward(self, step: int) -> None:
        """Called with the gradients of optimizer step ``step`` (from 0), for example to null frozen prototypes'."""

    def after_step(self) -> None:
        """Called after each optimizer step, for example to renormalise prototypes."""
