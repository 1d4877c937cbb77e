"""No positives: an image is compared with its own views only."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sslkit.contracts.positives import Positives


class OwnViews(Positives):
    """No other images: an image is compared with its own views only."""

    api = 1

    def draw(self, prepared: Mapping[str, Tensor], index: Tensor, generator: torch.Generator) -> Tensor:
        """Return no positives, ``[B, 0]``."""
        return torch.empty(len(index), 0, dtype=torch.int64)
