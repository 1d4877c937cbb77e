"""Check, count and join class labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sslkit.contracts.dataset import Split
from sslkit.contracts.evaluator import Features
from sslkit.errors import DataError


def require_labels(part: Features | Split, split: str) -> Tensor:
    """Return the class labels of a split as an int64 tensor ``[N]`` on the CPU.

    Raises:
        DataError: the split has no labels.
    """
    if part.labels is None:
        raise DataError(f"this evaluation needs labels, but the {split} images have none")
    return part.labels.cpu()


def count_classes(class_names: Sequence[str], *labels: Tensor) -> int:
    """Return the number of class names or, if there are none, the largest label plus 1."""
    return len(class_names) or max(int(part.max()) for part in labels if len(part)) + 1


def join_features(train: Features, validation: Features) -> Features:
    """Return the features and labels of training and validation images, concatenated."""
    return Features(
        torch.cat([train.features, validation.features]),
        torch.cat([require_labels(train, "train"), require_labels(validation, "validation")]),
    )
