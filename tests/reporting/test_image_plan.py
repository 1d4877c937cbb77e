from __future__ import annotations

from pathlib import Path

import numpy
import torch
from PIL import Image

from sslkit.data.store import TensorStore
from sslkit.reporting.image_plan import IMAGE_BYTES, PLANS, ImagePlan, plan_images
from sslkit.reporting.original_images import OriginalImages


def noise(count: int, side: int) -> TensorStore:
    """Noise is the worst case for compression."""
    generator = torch.Generator().manual_seed(0)
    return TensorStore(torch.randint(256, (count, 3, side, side), dtype=torch.uint8, generator=generator))


def test_more_classes_have_smaller_images_and_the_page_stays_within_the_limit() -> None:
    originals = OriginalImages(noise(20, 256))
    few, many = plan_images(originals, 2), plan_images(originals, 60)
    assert PLANS.index((few.per_row, few.longest)) < PLANS.index((many.per_row, many.longest))
    assert many.longest >= 96
    assert plan_images(originals, 60, 1000) == ImagePlan(0, 96), "no images rather than a large file"
    assert plan_images(OriginalImages(noise(20, 16)), 60) == ImagePlan(*PLANS[0]), "small images fit"
    assert IMAGE_BYTES * 1.4 < 9e6, "with the map, charts and texts, a report has at most 10 MB"


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
