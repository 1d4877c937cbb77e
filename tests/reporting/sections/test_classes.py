from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import one_hot

from sslkit.contracts.evaluator import IGNORED, OUTLIER, CorrectedClasses
from sslkit.evaluation.discovered_classes import DiscoveredClasses
from sslkit.reporting.encoded_split import EncodedSplit
from sslkit.reporting.image_plan import ImagePlan
from sslkit.reporting.page_elements import FigureWriter
from sslkit.reporting.sections import classes

Encode = Callable[..., EncodedSplit]


@pytest.fixture(autouse=True)
def tiles_are_indices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EncodedSplit, "tiles", lambda encoded, indices, differs=None: indices.tolist())


def test_cards_show_the_most_and_the_least_confident_images(encoded_split: Encode) -> None:
    logits = torch.zeros(60, 2)
    logits[:, 0] = torch.arange(60, 0, -1) / 10
    encoded = encoded_split(logits, discovered=DiscoveredClasses.from_logits(logits, None, 0))
    encoded = replace(encoded, plan=ImagePlan(20, 96))
    first, _ = classes.class_cards(encoded, [0, 1], {}, FigureWriter("x"))
    assert first["most_confident"] == list(range(20))
    assert first["least_confident"] == list(range(59, 39, -1))
    assert first["moved"] == []


def test_of_too_many_classes_the_largest_are_shown(encoded_split: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes, "MAX_CLASSES", 2)
    logits = one_hot(torch.tensor([0, 1, 1, 2, 2, 2])).float()
    encoded = encoded_split(logits, discovered=DiscoveredClasses.from_logits(logits, None, 0))
    numbers = classes.class_numbers(encoded, {})
    assert numbers == [0, 1, 2]
    assert classes.shown_classes(encoded, numbers) == [1, 2]


def test_cards_are_of_the_corrected_classes(encoded_split: Encode) -> None:
    # Classes 0 and 2 are merged; image 1 is moved to the added class 5; images 6 and 7 have no class.
    discovered = torch.tensor([0, 0, 1, 1, 2, 2, 1, 0])
    assigned = torch.tensor([0, 5, 1, 1, 0, 0, OUTLIER, IGNORED])
    corrected = torch.tensor([False, True, False, False, False, False, True, True])
    names = {0: "a", 2: "a", 5: "new"}
    confidence = torch.linspace(1, 0.5, 8).double()
    labels = torch.tensor([0, 1, 1, 1, 0, 0, 1, 0])
    encoded = encoded_split(
        torch.zeros(8, 2), labels, discovered=DiscoveredClasses(discovered, confidence, 3, labels, 2)
    )
    encoded = replace(encoded, corrections=CorrectedClasses(assigned, confidence, corrected, names, 3))
    numbers = classes.class_numbers(encoded, names)
    assert numbers == [0, 1, 5]
    cards = classes.class_cards(encoded, numbers, names, FigureWriter("x"))
    assert [(card["size"], card["added"], card["moved"]) for card in cards] == [
        (3, False, []),
        (2, False, []),
        (1, True, [1]),
    ]
    assert cards[0]["most_confident"] + cards[0]["least_confident"][::-1] == [0, 4, 5]
    assert cards[0]["same_name"] == "merged with class 2"
    assert [row for _, row in classes.marked_images(encoded)] == [[6], [7]]
    assert encoded.describe(1) == "moved to class 5 by a user, discovered class 0, label b, test image 1"
    assert encoded.describe(6).startswith("marked as outlier by a user, discovered class 1")
    assert encoded.describe(2).startswith("class 1, confidence 0.86")
    chart = classes.class_sizes(encoded, numbers, names, FigureWriter("x"))
    assert "3 of 3 classes have images. The largest class has 3, the smallest 1; " in chart.caption
