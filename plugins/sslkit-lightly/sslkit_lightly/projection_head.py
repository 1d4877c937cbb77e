"""Projection head without classifiers, based on lightly's MLP."""

from __future__ import annotations

from lightly.models.modules import heads
from pydantic import Field
from torch import Tensor, nn

import sslkit


class ProjectionHead(sslkit.Head):
    """MLP head that maps features ``[B, D]`` to embeddings ``[B, E]``, with BatchNorm and ReLU between linear layers.

    Embeddings are not normalised. A loss that compares cosines must normalise them.

    Source: Chen et al., arXiv 2002.05709, and lightly's ``SimCLRProjectionHead``. Without BatchNorm after the final
    layer, the head equals lightly's heads for BYOL, Barlow Twins and VICReg.
    """

    api = 2

    class Options(sslkit.Options):
        hidden_dim: int = Field(2048, ge=1, le=100_000)
        """Width of the hidden layers."""

        embedding_dim: int = Field(128, ge=1, le=100_000)
        """Dimension of the embedding; Barlow Twins and VICReg benefit from thousands of dimensions."""

        layers: int = Field(2, ge=2, le=100)
        """Number of linear layers, including the final layer."""

        last_batch_norm: bool = True
        """Use BatchNorm after the final layer: true for SimCLR, false for BYOL, Barlow Twins and VICReg."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.embedding_dim = options.embedding_dim
        hidden, last = options.hidden_dim, options.embedding_dim
        widths = [context.feature_dim, *[hidden] * (options.layers - 1)]
        self.mlp = heads.ProjectionHead(
            [(width, hidden, nn.BatchNorm1d(hidden), nn.ReLU()) for width in widths[:-1]]
            + [(hidden, last, nn.BatchNorm1d(last) if options.last_batch_norm else None, None)]
        )

    def embed(self, features: Tensor) -> Tensor:
        """Return embeddings ``[B, E]``."""
        projected: Tensor = self.mlp(features)
        return projected
