"""Compare two runs for bit-identical results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from safetensors.torch import load_file

from sslkit.runs.metrics_file import read_metrics
from sslkit.runs.run import Run
from sslkit.training.checkpoint.checkpoint_files import load_checkpoint


def metric_rows(run: Run) -> list[Any]:
    """Return the rows of ``metrics.csv``, except measured times."""
    return [row for row in read_metrics(run.metrics) if not row.metric.startswith("time/")]


def differences(left: Any, right: Any, path: str = "") -> Iterator[str]:
    """Yield the key path of each value that differs between two checkpoints."""
    if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
        for key in left:
            yield from differences(left[key], right[key], f"{path}.{key}")
    elif isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)) and len(left) == len(right):
        for index, pair in enumerate(zip(left, right, strict=True)):
            yield from differences(*pair, f"{path}.{index}")
    elif isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        if not torch.equal(left, right):
            yield path
    elif left != right:
        yield path


def assert_equal_runs(run: Run, expected: Run) -> None:
    """Assert that the last checkpoints, the weights and all metrics of two runs are bit-identical."""
    checkpoints = (load_checkpoint(expected.last_checkpoint), load_checkpoint(run.last_checkpoint))
    # The file size depends on the number of digits of measured times.
    assert [path for path in differences(*checkpoints) if not path.endswith("metrics_file_size")] == []
    for name in ("backbone", "heads"):
        assert list(differences(load_file(getattr(expected, name)), load_file(getattr(run, name)))) == []
    assert metric_rows(run) == metric_rows(expected)
