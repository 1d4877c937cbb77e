"""A projection head without classifiers: lightly's MLP."""

from __future__ import annotations

from lightly.models.modules.heads import SimCLRProjectionHead
from pydantic import Field
from torch import Tensor

import sslkit


class ProjectionHead(sslkit.Head):
    """Features ``[B, D]`` to embeddings ``[B, E]``, by linear layers, each with BatchNorm, ReLU between them.

    Embeddings are not normalised: a loss that compares cosines does that itself.

    Source: Chen et al., arXiv 2002.05709, and lightly's ``SimCLRProjectionHead``.
    """

    api = 1

    class Options(sslkit.Options):
        hidden_dim: int = Field(2048, ge=1)
        """Width of the hidden layers."""

        embedding_dim: int = Field(128, ge=1)
        """Length of the embedding; Barlow Twins and VICReg gain from thousands."""

        layers: int = Field(2, ge=2)
        """Linear layers, the last included."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.embedding_dim = options.embedding_dim
        self.mlp = SimCLRProjectionHead(
            context.feature_dim, options.hidden_dim, options.embedding_dim, num_layers=options.layers
        )

    def embed(self, features: Tensor) -> Tensor:
        """Embeddings ``[B, E]``."""
        projected: Tensor = self.mlp(features)
        return projected
