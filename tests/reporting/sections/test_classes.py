from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import one_hot

from sslkit.evaluation.discovered_classes import DiscoveredClasses
from sslkit.reporting.encoded_split import EncodedSplit
from sslkit.reporting.page_elements import FigureWriter
from sslkit.reporting.sections import classes


def test_cards_show_the_most_and_the_least_confident_images(
    encoded_split: Callable[..., EncodedSplit], monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = torch.zeros(60, 2)
    logits[:, 0] = torch.arange(60, 0, -1) / 10
    monkeypatch.setattr(EncodedSplit, "tiles", lambda encoded, indices, differs=None: indices.tolist())
    discovered = DiscoveredClasses.from_logits(logits, None, 0)
    first, _ = classes.class_cards(encoded_split(logits), discovered, ["", ""], FigureWriter("x"))
    assert first["most_confident"] == list(range(20))
    assert first["least_confident"] == list(range(59, 39, -1))


def test_of_too_many_classes_the_largest_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes, "MAX_CLASSES", 2)
    logits = one_hot(torch.tensor([0, 1, 1, 2, 2, 2])).float()
    assert classes.shown_classes(DiscoveredClasses.from_logits(logits, None, 0)) == [1, 2]
