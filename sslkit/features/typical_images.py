"""Features of sampled training images, used to find outliers when the training images are not available."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sslkit.data.splits import evenly_spaced_indices
from sslkit.errors import RunError
from sslkit.features.neighbours import unit_rows
from sslkit.files import open_regular_file, write_atomic

MAX_IMAGES = 4096
"""Largest number of images in the sample: with 1280 features, the file has 10 MB."""

REMEDY = "delete the file to continue without outlier scores"


def sample_indices(count: int) -> Tensor:
    """Return the indices of a sample of ``count`` images: at most ``MAX_IMAGES``, evenly spaced, as an int64 tensor."""
    return evenly_spaced_indices(count, min(count, MAX_IMAGES))


def save_typical_images(features: Tensor, path: Path) -> None:
    """Save features ``[M, D]`` of sampled training images, divided by their lengths, as float16."""
    rows = unit_rows(features.float()).half().contiguous()
    write_atomic(path, save({"features": rows}, metadata={"sslkit": json.dumps({"format": 1})}))


def load_typical_images(path: Path, feature_dim: int) -> Tensor | None:
    """Return the float32 features ``[M, feature_dim]`` that ``save_typical_images`` wrote, or None if there is no file.

    Raises:
        RunError: the file is damaged, or belongs to another network.
    """
    if not path.exists():
        return None
    try:
        open_regular_file(path).close()
        with safe_open(path, framework="pt") as file:
            rows: Tensor = file.get_tensor("features")
    except (OSError, SafetensorError) as error:
        raise RunError(f"the features {path} cannot be read: {error}; {REMEDY}") from error
    if rows.ndim != 2 or rows.shape[1] != feature_dim or len(rows) < 2 or not rows.isfinite().all():
        raise RunError(
            f"the features {path} cannot be used: they must be finite, of shape [M, {feature_dim}] with M at least 2, "
            f"not {[*rows.shape]}; {REMEDY}"
        )
    return rows.float()
