from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from sslkit.evaluation.discovered_classes import DiscoveredClasses
from sslkit.reporting.encoded_split import EncodedSplit
from sslkit.reporting.page_elements import FigureWriter
from sslkit.reporting.sections import feature_map

Encode = Callable[..., EncodedSplit]


def test_points_texts_and_colours_belong_to_the_same_images(
    encoded_split: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(40, 3, generator=generator), torch.arange(40) % 2
    encoded = encoded_split(logits, labels, discovered=DiscoveredClasses.from_logits(logits, labels, 2))
    sample = encoded_split(logits[:4] + 1, labels[:4], discovered=DiscoveredClasses.from_logits(logits[:4]))
    encoded = replace(encoded, training_sample=replace(sample, name="train"))
    monkeypatch.setattr(feature_map, "MAX_POINTS", 5)
    found = feature_map.feature_map(encoded, {0: "zero"}, FigureWriter("x"), 100_000)
    data, indices = found["data"], encoded.sample(5)
    assert data["texts"] == [encoded.describe(index) for index in indices.tolist()] + [
        sample.describe(index).replace("test", "train") for index in range(4)
    ]
    (own, trained), explained = feature_map.project(encoded.features, [sample.features])
    assert 0.5 < explained < 1
    drawn = torch.tensor(data["points"])
    expected = torch.cat([own[indices], trained])
    scale = (drawn[:, 0].max() - drawn[:, 0].min()) / (expected[:, 0].max() - expected[:, 0].min())
    torch.testing.assert_close(drawn[:, 0].diff(), scale * expected[:, 0].diff(), atol=2e-4, rtol=0)
    torch.testing.assert_close(drawn[:, 1].diff(), -scale * expected[:, 1].diff(), atol=2e-4, rtol=0)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    colours = {colour["name"]: colour for colour in data["colours"]}
    assert list(colours) == ["class", "label", "confidence", "split"]
    assert colours["class"]["values"][:5] == logits.argmax(1)[indices].tolist()
    assert [0, "0 zero"] in colours["class"]["names"]
    assert colours["label"]["values"][:5] == labels[indices].tolist()
    assert colours["split"]["values"] == [0] * 5 + [1] * 4
    assert colours["split"]["names"] == [[0, "test"], [1, "train"]]
    assert "5 of 40 test images, drawn at random, and 4 training images" in found["caption"]


def test_a_sheet_that_would_be_too_large_has_smaller_images(encoded_split: Encode) -> None:
    encoded = encoded_split(torch.randn(40, 3), image_side=100)
    large = feature_map.feature_map(encoded, {}, FigureWriter("x"), 10_000_000)
    small = feature_map.feature_map(encoded, {}, FigureWriter("x"), len(large["sheet"]) // 3)
    assert large["data"]["side"] == feature_map.SPRITE_SIDE
    assert feature_map.SMALLEST_SIDE <= small["data"]["side"] < feature_map.SPRITE_SIDE
    assert len(small["sheet"]) <= len(large["sheet"]) // 3
