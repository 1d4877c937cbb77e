"""What evaluators ask of labels."""

from __future__ import annotations

import torch
from torch import Tensor

from sslkit.contracts.evaluator import Features, Subject
from sslkit.errors import DataError


def require_labels(features: Features, split: str) -> Tensor:
    """The labels ``[N]`` int64 on the CPU.

    Raises:
        DataError: there are none.
    """
    if features.labels is None:
        raise DataError(f"this evaluation needs labels, but the {split} images have none")
    return features.labels.cpu()


def count_classes(subject: Subject, train: Features, test: Features) -> int:
    """How many classes there are: those with a name, else up to the greatest label."""
    greatest = max(int(require_labels(part, name).max()) for name, part in (("train", train), ("test", test)))
    return len(subject.class_names) or greatest + 1


def join_features(train: Features, validation: Features) -> Features:
    """Train and validation images together."""
    return Features(
        torch.cat([train.features, validation.features]),
        torch.cat([require_labels(train, "train"), require_labels(validation, "validation")]),
    )
