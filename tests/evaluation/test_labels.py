"""Number of classes with and without class names."""

from __future__ import annotations

import torch

from sslkit.evaluation.labels import count_classes


def test_names_count_before_labels_and_empty_splits_do_not_count() -> None:
    labels, empty = torch.tensor([0, 2]), torch.tensor([], dtype=torch.int64)
    assert count_classes(("a", "b", "c", "d"), labels) == 4
    assert count_classes((), labels, torch.tensor([1]), empty) == 3
