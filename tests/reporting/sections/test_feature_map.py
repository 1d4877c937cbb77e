from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from sslkit.reporting.encoded_split import EncodedSplit
from sslkit.reporting.page_elements import FigureWriter
from sslkit.reporting.sections import feature_map


def test_points_and_texts_belong_to_the_same_images(
    encoded_split: Callable[..., EncodedSplit], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = encoded_split(torch.randn(40, 3, generator=torch.Generator().manual_seed(0)))
    drawn: list[Any] = []
    draw = feature_map.scatter_chart
    monkeypatch.setattr(feature_map, "MAX_POINTS", 5)
    monkeypatch.setattr(feature_map, "scatter_chart", lambda points, *rest: drawn.append(points) or draw(points, *rest))
    texts = feature_map.feature_map(encoded, [], FigureWriter("x"))["data"]["texts"]
    indices = encoded.sample(5)
    assert texts == [f"test image {index}" for index in indices.tolist()]
    assert (drawn[0] == encoded.projection()[0][indices].numpy()).all()
