"""Top-k accuracy, compared with values computed by hand."""

from __future__ import annotations

import torch

from sslkit.evaluation.accuracy import topk_accuracy


def test_top5_needs_more_than_five_classes() -> None:
    logits = torch.tensor([[6.0, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6]])
    assert topk_accuracy(logits, torch.tensor([0, 0])) == {"top1": 0.5, "top5": 0.5}
    assert topk_accuracy(logits[:, :5], torch.tensor([0, 0])) == {"top1": 0.5}


def test_a_class_without_votes_is_not_in_the_top_five() -> None:
    votes = torch.tensor([[2.0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 2]])
    for label, accuracy in ((0, 0.5), (1, 0.5), (2, 0.0), (3, 0.0), (4, 0.5)):
        assert topk_accuracy(votes.log(), torch.tensor([label, label]))["top5"] == accuracy
