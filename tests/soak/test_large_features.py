"""The memory use of kNN and k-means does not increase with the number of features."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sslkit.evaluation.knn_classifier import knn_accuracy
from sslkit.features.kmeans import fit_centres, nearest_centre

IMAGES, WIDTH, CLASSES = 200_000, 256, 50
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def process_memory(field: str) -> int:
    """Return a field of the process status, ``VmRSS`` or ``VmHWM``, in bytes."""
    return 1024 * int(re.findall(rf"{field}:\s+(\d+)", STATUS.read_text())[0])


@pytest.mark.soak
@pytest.mark.skipif(not RESET.exists(), reason="only Linux reports peak memory")
def test_200_000_features(record: Callable[[str, dict[str, Any]], None]) -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(CLASSES, WIDTH, generator=generator)
    labels = torch.randint(CLASSES, (IMAGES,), generator=generator)
    features = torch.randn(IMAGES, WIDTH, generator=generator).add_(centres[labels])
    peaks: dict[str, int] = {}

    def measure_peak(name: str, work: Callable[[], Any]) -> Any:
        before = process_memory("VmRSS")
        RESET.write_text("5")
        result = work()
        peaks[name] = process_memory("VmHWM") - before
        return result

    accuracy = measure_peak(
        "knn", lambda: knn_accuracy(features, labels, features[:2000], labels[:2000], 20, classes=CLASSES)
    )
    means = fit_centres(features[:5000], CLASSES, seed=0, restarts=1)
    groups = measure_peak("kmeans", lambda: nearest_centre(features, means))
    assert accuracy > 0.99
    # k-means may merge a few classes, but must not split a class between clusters.
    purity = torch.stack([torch.bincount(labels[groups == group], minlength=CLASSES).max() for group in range(CLASSES)])
    assert int(purity.sum()) / IMAGES > 0.8
    # A block of similarities and a block of normalised features take 256 MiB each; sorting takes about the same again.
    assert peaks["knn"] < 1200 << 20
    assert peaks["kmeans"] < 100 << 20
    record("large features", {"images": IMAGES, "width": WIDTH, "peak_bytes": peaks, "knn": accuracy})
