"""Latest embeddings of all training images, stored in a buffer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

import sslkit


class StoredEmbeddings(nn.Module):
    """Embeddings of V views of each training image, from the image's latest batch; equal in all processes.

    Args:
        views: int, number of stored views V.
        images: int, number of training images N.
        embedding_dim: int, length E of an embedding.
        world: the processes of the training run.

    Attributes:
        rows: tensor ``[V, N, E]``; 0 for images without an embedding.
    """

    rows: Tensor

    def __init__(self, views: int, images: int, embedding_dim: int, world: sslkit.World) -> None:
        super().__init__()
        self.world = world
        self.register_buffer("rows", torch.zeros(views, images, embedding_dim))

    @torch.no_grad()
    def set_all(self, embeddings: Tensor) -> None:
        """Set the embeddings of all views to ``embeddings`` ``[N, E]``."""
        self.rows.copy_(embeddings.expand_as(self.rows))

    @torch.no_grad()
    def update(self, embeddings: Tensor, index: Tensor) -> None:
        """Store the embeddings of the global batch. All processes must call this method.

        Args:
            embeddings: tensor ``[V, B, E]``, the embeddings of this process's images.
            index: int64 tensor ``[B]``, the index of each image in the training set.
        """
        rows = self.world.gather(embeddings.detach().transpose(0, 1).to(self.rows.dtype)).transpose(0, 1)
        self.rows.index_copy_(1, self.world.gather(index), rows)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """Load the state. If the number of training images has changed, discard the embeddings, as indices differ."""
        saved = state_dict.get(f"{prefix}rows")
        if saved is not None and saved.shape != self.rows.shape:
            state_dict = {**state_dict, f"{prefix}rows": torch.zeros_like(self.rows)}
        super()._load_from_state_dict(state_dict, prefix, *args)
