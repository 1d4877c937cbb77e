"""Whether two runs are the same to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from safetensors.torch import load_file

from sslkit.runs.metrics_file import read_metrics
from sslkit.runs.run import Run
from sslkit.training.checkpoint.checkpoint_files import load_checkpoint


def rows(run: Run) -> list[Any]:
    return [row for row in read_metrics(run.metrics) if not row.metric.startswith("time/")]


def differences(left: Any, right: Any, where: str = "") -> Iterator[str]:
    """Every place where two checkpoints are not the same to the bit."""
    if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
        for key in left:
            yield from differences(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)) and len(left) == len(right):
        for place, pair in enumerate(zip(left, right, strict=True)):
            yield from differences(*pair, f"{where}.{place}")
    elif isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        if not torch.equal(left, right):
            yield where
    elif left != right:
        yield where


def assert_same(run: Run, calm: Run) -> None:
    """Weights, optimizer, queue, schedule, random states, pending figures, and every row of the history."""
    one, other = load_checkpoint(calm.last_checkpoint), load_checkpoint(run.last_checkpoint)
    # Times differ from one repetition to the next, and so does the length of the rows that hold them.
    assert [place for place in differences(one, other) if not place.endswith("history_size")] == []
    for file in ("backbone", "heads"):
        assert list(differences(load_file(getattr(calm, file)), load_file(getattr(run, file)))) == []
    assert rows(run) == rows(calm)
