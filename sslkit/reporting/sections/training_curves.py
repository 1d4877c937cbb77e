"""Line charts of ``metrics.csv`` and of an evaluator's training."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from sslkit.reporting.charts import Curve, line_chart
from sslkit.reporting.page_elements import Chart, FigureWriter
from sslkit.runs.metrics_file import MetricsRow

Points = tuple[list[float], list[float]]
"""Epochs and values."""

LN_K = "monitor/ln_k"

FRACTION = "in [0, 1]"

METRICS = {
    "epoch_loss": ("loss, mean of the epoch", ""),
    "loss": ("loss, every few steps", ""),
    "monitor/acc": ("cluster accuracy", FRACTION),
    "monitor/nmi": ("NMI", FRACTION),
    "monitor/knn": ("kNN accuracy", FRACTION),
    "monitor/entropy": ("entropy of the assignments", "nats"),
    "monitor/classes_used": ("classes in use", "classes"),
    "monitor/view_entropy": ("entropy of the assignments of augmented views", "nats"),
    "monitor/view_contrast": ("contrast between views of different images", "standard deviations"),
    "monitor/feature_std": ("standard deviation of the features", "1 = even in all directions"),
    "monitor/effective_rank": ("effective rank of the features", "dimensions"),
    "lr": ("learning rate", "learning rate"),
    "time/images_per_second": ("throughput", "images / s"),
    "time/data_wait": ("time spent waiting for data", FRACTION),
}
"""Label and unit of the metrics that sslkit logs. Other metrics are shown under their own names."""

VALIDATION = ("monitor/acc", "monitor/nmi", "monitor/knn")


def by_metric(rows: Iterable[MetricsRow]) -> dict[str, Points]:
    """Group rows of ``metrics.csv`` by metric, in order of first appearance."""
    history: dict[str, Points] = {}
    for row in rows:
        epochs, values = history.setdefault(row.metric, ([], []))
        epochs.append(row.epoch)
        values.append(row.value)
    return history


def run_charts(history: Mapping[str, Points], figures: FigureWriter) -> tuple[list[Chart], list[Chart]]:
    """Return the main charts (loss, validation metrics, learning rate and throughput), and all other charts."""
    rest = dict(history)
    _, ln_k = rest.pop(LN_K, ([], []))
    levels = {"ln K": ln_k[-1]} if ln_k else {}
    main: list[Chart] = []
    more: list[Chart] = []
    if "loss" in rest:
        # The name of each loss in the total loss has no slash; the names of a loss's own metrics have one.
        parts = [name for name in rest if "/" not in name and name not in ("loss", "epoch_loss", "lr")]
        curves = [Curve(_label("loss"), *rest.pop("loss"), faint=True)]
        curves += [Curve(_label(name), *rest.pop(name)) for name in ("epoch_loss", *parts) if name in rest]
        main.append(_draw(figures, "loss", "Loss", "loss", curves, levels))
    if validation := [Curve(_label(name), *rest.pop(name)) for name in VALIDATION if name in rest]:
        main.append(_draw(figures, "validation", "Validation metrics during training", FRACTION, validation))
    for name, points in rest.items():
        uniform = {f"{text}, uniform": level for text, level in levels.items()} if name == "monitor/entropy" else {}
        chart = _draw_metric(figures, name, [Curve(_label(name), *points)], uniform)
        (main if name in ("lr", "time/images_per_second") else more).append(chart)
    return main, more


def comparison_charts(histories: Mapping[str, Mapping[str, Points]], figures: FigureWriter) -> list[Chart]:
    """Return charts that compare runs, one for each metric that at least one run has.

    Only metrics in ``METRICS`` get a chart, except ``loss`` and ``time/data_wait``. ``histories`` contains the metrics
    of each run, keyed by run name.
    """
    charts = []
    for name in METRICS:
        curves = [Curve(run, *history[name]) for run, history in histories.items() if name in history]
        if curves and name not in ("loss", "time/data_wait"):
            charts.append(_draw_metric(figures, name, curves))
    return charts


def evaluator_charts(
    index: int, title: str, rows: Sequence[Mapping[str, float | None]], figures: FigureWriter
) -> list[Chart]:
    """Return the charts of an evaluator's own training.

    Args:
        index: index of the evaluation among those of the run.
        title: name of the evaluator.
        rows: metrics of each epoch, keyed by names such as ``train_loss``. Names with the same last word share a chart.
        figures: converts and saves the charts.
    """
    curves: dict[str, list[Curve]] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        points = [(epoch, value) for epoch, row in enumerate(rows, 1) if (value := row.get(name)) is not None]
        split, _, metric = name.rpartition("_")
        curve = Curve(split or metric, [float(epoch) for epoch, _ in points], [value for _, value in points])
        curves.setdefault(metric, []).append(curve)
    charts = []
    for number, (metric, own) in enumerate(curves.items()):
        file = f"evaluation-{index}-{number}-{re.sub(r'[^a-zA-Z0-9]+', '-', metric)}"
        charts.append(_draw(figures, file, f"{title}: {metric}", "loss" if metric == "loss" else FRACTION, own))
    return charts


def _label(name: str) -> str:
    return METRICS[name][0] if name in METRICS else name


def _draw_metric(
    figures: FigureWriter, name: str, curves: Sequence[Curve], levels: Mapping[str, float] | None = None
) -> Chart:
    label, (_, unit) = _label(name), METRICS.get(name, ("", ""))
    return _draw(figures, name.replace("/", "-"), label[:1].upper() + label[1:], unit, curves, levels)


def _draw(
    figures: FigureWriter,
    name: str,
    title: str,
    unit: str,
    curves: Sequence[Curve],
    levels: Mapping[str, float] | None = None,
) -> Chart:
    """Draw a ``line_chart`` whose description gives the first, last, smallest and largest values of each curve."""
    parts = [f"{curve.name}: {_range(curve)}" for curve in curves if not curve.faint]
    description = "; ".join([*parts, *(f"{name} is {level:.4g}" for name, level in (levels or {}).items())])
    return figures.chart(name, title, description, line_chart(curves, unit, levels))


def _range(curve: Curve) -> str:
    if len(curve.y) < 2:
        return ", ".join(f"{value:.4g}" for value in curve.y) or "no values"
    return f"from {curve.y[0]:.4g} to {curve.y[-1]:.4g}, between {min(curve.y):.4g} and {max(curve.y):.4g}"
