"""Contract of a head, the module that maps features to embeddings and logits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass

from torch import Tensor, nn

from sslkit.contracts.component import Component
from sslkit.contracts.context import Context
from sslkit.contracts.options import Options
from sslkit.errors import IncompatibleComponentError


@dataclass(frozen=True)
class HeadOutput:
    """Outputs of a head for features ``[B, D]``.

    Attributes:
        embedding: tensor ``[B, E]``; L2-normalised if the head has classifiers.
        logits: tuple of tensors ``[B, K]``, one for each classifier, or an empty tuple if there are none.
    """

    embedding: Tensor
    logits: tuple[Tensor, ...] = ()


class Head(Component, nn.Module):
    """Base class of heads: modules that project features to embeddings and, optionally, classify them.

    Subclasses set ``embedding_dim`` in ``__init__`` and implement ``embed``. A head with classifiers (prototypes) also
    sets ``classifiers`` and implements ``classify``.

    In training, a head receives the features of all views of a batch in one call. B is then the number of views times
    the batch size, and BatchNorm computes its statistics over all views.

    Attributes:
        embedding_dim: int, length E of an embedding.
        classifiers: tuple of int, the number of classes K of each classifier, in the order of ``HeadOutput.logits``.
            Default: empty.
    """

    embedding_dim: int
    classifiers: tuple[int, ...] = ()

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__()

    @abstractmethod
    def embed(self, features: Tensor) -> Tensor:
        """Return the embeddings ``[B, E]`` of features ``[B, D]``."""

    def classify(self, embedding: Tensor) -> tuple[Tensor, ...]:
        """Return the logits ``[B, K]`` of each classifier for embeddings ``[B, E]``. Default: there are no classifiers.

        A loss can also call this method with embeddings of earlier batches, such as those in a queue.
        """
        return ()

    def forward(self, features: Tensor) -> HeadOutput:
        """Return the embeddings and logits of features ``[B, D]``."""
        embedding: object = self.embed(features)
        if not isinstance(embedding, Tensor):
            name = f"{type(self).__module__}.{type(self).__qualname__}"
            raise IncompatibleComponentError(
                f"{name}.embed must return a tensor, not of type {type(embedding).__name__}"
            )
        return HeadOutput(embedding, self.classify(embedding))

    def phase(self, step: int) -> Hashable:
        """Return the phase of training in step ``step``: a value that changes when the computation of the head changes.

        Return, for example, whether prototypes are frozen. On a GPU, sslkit captures a CUDA graph in each phase; see
        ``Loss.phase``. Default: a single phase.
        """
        return None

    def after_backward(self, step: int) -> None:
        """Modify gradients after the backward pass, for example to set the gradients of frozen prototypes to None.

        Args:
            step: number of completed steps, as in ``ViewOutputs``.
        """

    def after_step(self) -> None:
        """Modify weights after an optimizer step, for example to normalise the prototypes."""
