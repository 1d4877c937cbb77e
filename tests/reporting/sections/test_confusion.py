from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.functional import one_hot

from sslkit.evaluation.discovered_classes import DiscoveredClasses
from sslkit.reporting.encoded_split import EncodedSplit
from sslkit.reporting.page_elements import FigureWriter
from sslkit.reporting.sections import confusion

FIGURES = FigureWriter("x")
Encode = Callable[..., EncodedSplit]


def test_columns_are_in_the_order_of_the_matching(encoded_split: Encode) -> None:
    labels = torch.tensor([0] * 2 + [1] * 3 + [2] * 4)
    logits = one_hot(torch.tensor([2] * 2 + [0] * 3 + [1] * 4), 4).float()
    discovered = DiscoveredClasses.from_logits(logits, labels, 3)
    encoded = encoded_split(logits, labels, ("a", "b", "c"), discovered)
    table = confusion.confusion(encoded, discovered, {2: "named"}, FIGURES)["table"]
    assert table.columns == ("label", "named", "0", "1", "3")
    assert table.rows == [("a", "2", "0", "0", "0"), ("b", "0", "3", "0", "0"), ("c", "0", "0", "4", "0")]


def test_with_many_classes_shares_are_of_all_images(encoded_split: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = torch.arange(200) % 2
    logits = one_hot(torch.arange(200) // 2, 100).float()
    calls: list[Any] = []
    draw = confusion.confusion_matrix
    monkeypatch.setattr(confusion, "confusion_matrix", lambda *arguments: calls.append(arguments) or draw(*arguments))
    discovered = DiscoveredClasses.from_logits(logits, labels, 2)
    encoded = encoded_split(logits, labels, discovered=discovered)
    chart = confusion.confusion(encoded, discovered, {}, FIGURES)["chart"]
    ((counts, totals, *_),) = calls
    assert [len(row) for row in counts] == [4, 4]
    assert totals == [100, 100]
    assert "columns are 4 of 100 discovered classes" in chart.caption


def test_the_most_confused_pairs_come_first(encoded_split: Encode) -> None:
    labels = torch.tensor([0] * 9 + [1] * 9)
    logits = one_hot(torch.tensor([0] * 8 + [1] + [0] * 3 + [1] * 6)).float()
    discovered = DiscoveredClasses.from_logits(logits, labels, 2)
    encoded = encoded_split(logits, labels, discovered=discovered)
    table = confusion.confusion(encoded, discovered, {}, FIGURES)["pairs"]
    assert table.rows == [("0", "a", "b", "3"), ("1", "b", "a", "1")]


def test_with_corrections_only_images_with_a_class_count(encoded_split: Encode) -> None:
    labels = torch.tensor([0, 0, 1, 1])
    discovered = DiscoveredClasses(torch.tensor([0, 0, 0, 1]), torch.ones(4), 2, labels, 2)
    corrected = DiscoveredClasses(torch.tensor([0, -1, 7, 7]), torch.ones(4), 8, labels, 2)
    encoded = encoded_split(torch.zeros(4, 2), labels, discovered=discovered)
    found = confusion.confusion(encoded, corrected, {7: "new"}, FIGURES, "corrected")
    assert found["table"].columns == ("label", "0", "new")
    assert found["table"].rows == [("a", "1", "0"), ("b", "0", "2")]
    assert found["chart"].title == "corrected"
    assert "1.000 of all 3 " in found["chart"].caption
