"""Rule that chooses no other images as positives."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sslkit.contracts.positives import Positives


class OwnViews(Positives):
    """Rule that chooses no other images as positives, so losses receive only the views of the image itself."""

    api = 2

    def draw(self, prepared: Mapping[str, Tensor], index: Tensor, generator: torch.Generator) -> Tensor:
        """Return no positives: a tensor ``[B, 0]``."""
        return torch.empty(len(index), 0, dtype=torch.int64)
