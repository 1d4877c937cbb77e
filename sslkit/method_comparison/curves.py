"""Accuracy of a run over time and over the number of views, from ``metrics.csv``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from sslkit.method_comparison.plan import Plan
from sslkit.runs.metrics_file import MetricsRow, read_metrics
from sslkit.runs.run import Run
from sslkit.training.monitor.collapse_detector import CollapseDetector

PREFIX = "monitor/"


@dataclass(frozen=True)
class CurvePoint:
    """Validation accuracy during training.

    Attributes:
        step: number of optimizer steps.
        minutes: minutes of training steps up to this step.
        views: number of views up to this step.
        knn: kNN accuracy on validation images, in [0, 1].
    """

    step: int
    minutes: float
    views: int
    knn: float


@dataclass(frozen=True)
class History:
    """What ``metrics.csv`` of a finished run contains about its time, accuracy and collapse.

    Attributes:
        minutes: minutes of all training steps, without the time for metrics and checkpoints.
        curve: validation accuracy during training.
        collapse: symptoms of collapse at the end of training, or ``""`` if there are none.
    """

    minutes: float
    curve: tuple[CurvePoint, ...]
    collapse: str


def read_history(run: Run, plan: Plan) -> History:
    """Return the history of a finished run."""
    rows = list(read_metrics(run.metrics))
    clock = step_clock(rows, plan.batch_size)
    views_per_step = plan.batch_size * plan.views_per_image
    curve = tuple(
        CurvePoint(row.step, minutes_at(clock, row.step), row.step * views_per_step, row.value)
        for row in rows
        if row.metric == f"{PREFIX}knn"
    )
    return History(minutes_at(clock, plan.length.steps), curve, collapse_at_end(rows))


def step_clock(rows: Sequence[MetricsRow], batch_size: int) -> list[tuple[int, float]]:
    """Return logged steps and the minutes of training steps up to each of them, starting with ``(0, 0.0)``."""
    clock = [(0, 0.0)]
    for row in rows:
        if row.metric == "time/images_per_second" and row.step > clock[-1][0]:
            step, minutes = clock[-1]
            clock.append((row.step, minutes + (row.step - step) * batch_size / row.value / 60))
    return clock


def minutes_at(clock: Sequence[tuple[int, float]], step: int) -> float:
    """Return the minutes of training up to a step, interpolated between the logged steps in ``clock``."""
    for (first, start), (last, end) in pairwise(clock):
        if first <= step <= last:
            return start + (end - start) * (step - first) / (last - first)
    return clock[-1][1]


def collapse_at_end(rows: Sequence[MetricsRow]) -> str:
    """Return the symptoms of collapse in a run's final measurement, or ``""`` if there are none."""
    measured: dict[int, dict[str, float]] = {}
    for row in rows:
        if row.metric.startswith(PREFIX):
            measured.setdefault(row.step, {})[row.metric.removeprefix(PREFIX)] = row.value
    if not measured:
        return ""
    last = max(measured)
    detector = CollapseDetector()
    detector.untrained_rank = measured.get(0, {}).get("effective_rank", 0.0)
    return "; ".join(detector.update(measured[last], None, 0, step=last, last=True))
