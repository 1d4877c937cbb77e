from __future__ import annotations

import torch

from sslkit.evaluation.discovered_classes import DiscoveredClasses


def test_members_are_sorted_by_confidence() -> None:
    logits = torch.tensor([[3.0, 0, 1], [0, 5, 0], [2, 0, 1.5], [9, 0, 8.9], [4, 0, 0]])
    classes = DiscoveredClasses.from_logits(logits, torch.tensor([1, 0, 1, 0, 1]), 2, temperature=0.5)
    assert torch.allclose(classes.confidence, (2 * logits.double()).softmax(1).max(1).values)
    assert classes.sizes.tolist() == [4, 1, 0]
    assert classes.members(0).tolist() == [4, 0, 2, 3]
    assert classes.majority(0) == (1, 0.75)
    assert classes.majority(2) is None
    assert classes.table is not None
    assert classes.table.tolist() == [[1, 3], [1, 0], [0, 0]]
