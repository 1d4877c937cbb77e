from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from sslkit.data.store import TensorStore
from sslkit.reporting import image_plan
from sslkit.reporting.image_plan import ImagePlan
from sslkit.reporting.original_images import OriginalImages


def test_many_images_are_smaller_and_then_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    # An image with a longest side of 256 pixels has 8192 bytes.
    monkeypatch.setattr(image_plan, "data_uri", lambda image: "x" * (max(image.size) ** 2 // 8))
    originals = OriginalImages(TensorStore(torch.zeros(20, 3, 256, 256, dtype=torch.uint8)))
    plan = partial(image_plan.plan_images, originals)
    assert plan([100] * 2) == ImagePlan(22, 256)
    assert plan([100] * 12) == ImagePlan(22, 192)
    assert plan([100] * 60) == ImagePlan(11, 144)
    assert plan([100] * 60, 1_200_000) == ImagePlan(6, 96)
    assert plan([1] * 60) == ImagePlan(22, 256), "small classes show few images"
    assert plan([100] * 60, 1000) == ImagePlan(0, 96), "no images rather than a large file"
    assert image_plan.IMAGE_BYTES * 1.4 < 9e6, "with the map, charts and texts, a report has at most 10 MB"


def test_images_come_from_the_files_unless_these_are_missing_or_elsewhere(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside.png"
    root.mkdir()
    white = Image.fromarray(numpy.full((300, 200), 255, numpy.uint8))
    for path in (root / "a.png", outside):
        white.save(path)
    (root / "link.png").symlink_to(outside)
    (root / "broken.png").write_text("no image")
    files = ("a.png", "link.png", "broken.png", "missing.png", "../outside.png")
    originals = OriginalImages(TensorStore(torch.zeros(5, 1, 8, 8, dtype=torch.uint8)), files, root)
    images = [originals.load(index, 96) for index in range(5)]
    assert images[0].size == (64, 96)
    assert images[0].getextrema() == (255, 255)
    assert [image.size for image in images[1:]] == [(8, 8)] * 4
