"""Thumbnails of a page, with their text and a mark for those whose label differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sslkit.reporting.encoded_split import EncodedSplit
from sslkit.reporting.thumbnails import data_uri, thumbnails

PIXELATED_SIZE = 32
"""Longest side in pixels up to which images are enlarged without smoothing."""


def tiles(
    encoded: EncodedSplit, indices: Sequence[int] | Tensor, differs: Sequence[bool] | None = None
) -> list[dict[str, Any]]:
    """Return the template values of some images' thumbnails; ``differs`` marks images whose label differs."""
    indices = torch.as_tensor(indices, dtype=torch.int64)
    marks = differs or [False] * len(indices)
    small = max(encoded.split.images.shape[1:]) <= PIXELATED_SIZE
    images = thumbnails(encoded.split.images, indices)
    return [
        {
            "uri": data_uri(image),
            "text": encoded.describe(index) + (", another label" if mark else ""),
            "differs": mark,
            "small": small,
        }
        for image, index, mark in zip(images, indices.tolist(), marks, strict=True)
    ]
