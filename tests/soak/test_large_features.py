"""Nearest neighbours and k-means of many features, in a memory that does not grow with them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sslkit.evaluation.kmeans import fit_centres, nearest_centre
from sslkit.evaluation.knn_classifier import knn_accuracy

IMAGES, WIDTH, CLASSES = 200_000, 256, 50
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def memory(what: str) -> int:
    """VmRSS or VmHWM, in bytes."""
    return 1024 * int(re.findall(rf"{what}:\s+(\d+)", STATUS.read_text())[0])


@pytest.mark.soak
@pytest.mark.skipif(not RESET.exists(), reason="only Linux reports peak memory")
def test_200_000_features(record: Callable[[str, dict[str, Any]], None]) -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(CLASSES, WIDTH, generator=generator)
    labels = torch.randint(CLASSES, (IMAGES,), generator=generator)
    features = torch.randn(IMAGES, WIDTH, generator=generator).add_(centres[labels])
    peaks: dict[str, int] = {}

    def measured(name: str, work: Callable[[], Any]) -> Any:
        before = memory("VmRSS")
        RESET.write_text("5")
        found = work()
        peaks[name] = memory("VmHWM") - before
        return found

    accuracy = measured(
        "knn", lambda: knn_accuracy(features, labels, features[:2000], labels[:2000], 20, classes=CLASSES)
    )
    means = fit_centres(features[:5000], CLASSES, seed=0, restarts=1)
    groups = measured("kmeans", lambda: nearest_centre(features, means))
    assert accuracy > 0.99
    # Every group is nearly one class: k-means may merge a few, never mix them.
    purity = torch.stack([torch.bincount(labels[groups == group], minlength=CLASSES).max() for group in range(CLASSES)])
    assert int(purity.sum()) / IMAGES > 0.8
    # Blocks of similarities and of normalised features take 256 MiB each, and sorting about as much again.
    assert peaks["knn"] < 1200 << 20
    assert peaks["kmeans"] < 100 << 20
    record("large_features", {"images": IMAGES, "width": WIDTH, "peak_bytes": peaks, "knn": accuracy})
