"""The SwAV head: lightly's projection head with prototypes.

Source: Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments", NeurIPS 2020,
arXiv 2006.09882.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Annotated, Literal

import torch
from lightly.models.modules.heads import SwaVProjectionHead, SwaVPrototypes
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

import sslkit
from sslkit_lightly.duration import Duration

Prototypes = Annotated[int, Field(ge=2, le=10_000_000)]


class SwavHead(sslkit.Head):
    """MLP head that maps features ``[B, D]`` to unit embeddings ``[B, E]`` and cosines ``[B, K]`` with prototypes.

    Prototypes are normalised to length 1 at the start and after every step. With ``bias``, a trained bias is added to
    the cosines. While prototypes are frozen, their gradients are set to None after each backward pass, so that
    optimizers do not change them. Under autocast, embeddings are normalised and compared in the precision of the
    parameters, because Sinkhorn divides by a small epsilon and amplifies rounding errors.
    """

    api = 2

    class Options(sslkit.Options):
        prototypes: tuple[Prototypes, ...] = Field((3000,), min_length=1)
        """Number of prototypes in each set of prototypes, such as [3000] or [300, 300]."""

        hidden_dim: Annotated[int, Field(ge=1, le=100_000)] | Literal["linear"] = 2048
        """Width of the hidden layer with BatchNorm and ReLU; "linear" means no hidden layer."""

        embedding_dim: int = Field(128, ge=1, le=100_000)
        """Dimension of the embedding."""

        freeze_prototypes: sslkit.Duration = "1 epochs"
        """How long prototypes stay fixed at the start of training, such as "1 epochs", "300 steps" or "1%"."""

        bias: bool = False
        """Add a bias to the cosines, as in lightly; the paper has none."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.embedding_dim = options.embedding_dim
        self.classifiers = options.prototypes
        self.freezing = Duration(options.freeze_prototypes, context)
        self.projection: nn.Module
        if options.hidden_dim == "linear":
            self.projection = nn.Linear(context.feature_dim, options.embedding_dim)
        else:
            self.projection = SwaVProjectionHead(context.feature_dim, options.hidden_dim, options.embedding_dim)
        self.prototypes = SwaVPrototypes(options.embedding_dim, list(options.prototypes))
        if not options.bias:
            for layer in self.prototypes.heads:
                layer.register_parameter("bias", None)
        self.after_step()

    def embed(self, features: Tensor) -> Tensor:
        """Return embeddings ``[B, E]`` of length 1."""
        projected: Tensor = self.projection(features)
        return functional.normalize(projected.to(self.prototypes.heads[0].weight.dtype))

    def classify(self, embedding: Tensor) -> tuple[Tensor, ...]:
        """Return the cosines ``[B, K]`` with each set of prototypes."""
        with torch.autocast(embedding.device.type, enabled=False):
            return tuple(self.prototypes(embedding.to(self.prototypes.heads[0].weight.dtype)))

    def phase(self, step: int) -> Hashable:
        """Return the phase of training in step ``step``: whether prototypes are frozen."""
        return not self.freezing.is_over(step)

    def after_backward(self, step: int) -> None:
        """While prototypes are frozen, set their gradients to None, so that the optimizer does not change them."""
        if not self.freezing.is_over(step):
            for parameter in self.prototypes.parameters():
                parameter.grad = None

    @torch.no_grad()
    def after_step(self) -> None:
        """Normalise all prototypes to length 1."""
        self.prototypes.normalize()
