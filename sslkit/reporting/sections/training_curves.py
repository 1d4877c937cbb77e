"""Curves of a training, of one run or of several beside each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sslkit.reporting import charts as figures
from sslkit.reporting.page_elements import Chart, Gallery
from sslkit.reporting.charts import Line
from sslkit.runs.metrics_file import Row

Points = tuple[list[float], list[float]]
"""Epochs and values."""

LN_K = "monitor/ln_k"

NAMES = {
    "epoch_loss": "loss, mean of the epoch",
    "loss": "loss, every few steps",
    "monitor/acc": "cluster accuracy",
    "monitor/nmi": "NMI",
    "monitor/knn": "nearest neighbours",
    "monitor/entropy": "entropy of the assignments",
    "monitor/classes_used": "classes in use",
    "monitor/view_entropy": "entropy of the assignments of augmented views",
    "monitor/view_contrast": "contrast between views of different images",
    "monitor/spread": "spread of the features",
    "monitor/rank": "effective rank of the features",
    "lr": "learning rate",
    "time/images_per_second": "throughput",
    "time/waiting": "time spent waiting for data",
}

UNITS = {
    "monitor/acc": "fraction of 1",
    "monitor/nmi": "fraction of 1",
    "monitor/knn": "fraction of 1",
    "monitor/entropy": "nats",
    "monitor/classes_used": "classes",
    "monitor/view_entropy": "nats",
    "monitor/view_contrast": "standard deviations",
    "monitor/spread": "1 is even",
    "monitor/rank": "dimensions",
    "time/images_per_second": "images / s",
    "time/waiting": "fraction of 1",
}


@dataclass(frozen=True)
class Curves:
    """One chart of curves.

    Attributes:
        name: unlike any other of the run's.
        title: what it shows.
        unit: of the values.
        lines: the curves.
        levels: horizontal lines by name.
        main: whether it belongs to what everybody looks at.
    """

    name: str
    title: str
    unit: str
    lines: Sequence[Line]
    levels: Mapping[str, float] = field(default_factory=dict)
    main: bool = True

    @property
    def words(self) -> str:
        """What it shows to who cannot see it."""
        told = [f"{line.name}: {_course(line)}" for line in self.lines if not line.faint]
        return "; ".join([*told, *(f"{name} is {level:.4g}" for name, level in self.levels.items())])

    def chart(self, gallery: Gallery) -> Chart:
        """The chart, as one of the gallery's."""
        return gallery.chart(self.name, self.title, self.words, figures.curves(self.lines, self.unit, self.levels))


def _course(line: Line) -> str:
    if len(line.y) < 2:
        return ", ".join(f"{value:.4g}" for value in line.y) or "no values"
    least, greatest = min(line.y), max(line.y)
    return f"from {line.y[0]:.4g} to {line.y[-1]:.4g}, between {least:.4g} and {greatest:.4g}"


def by_metric(rows: Iterable[Row]) -> dict[str, Points]:
    """The points of every metric, in the order in which these first appear."""
    found: dict[str, Points] = {}
    for row in rows:
        epochs, values = found.setdefault(row.metric, ([], []))
        epochs.append(row.epoch)
        values.append(row.value)
    return found


def of_run(history: Mapping[str, Points]) -> list[Curves]:
    """The charts of one run: loss, what was measured, learning rate, throughput; then whatever else was logged."""
    left = dict(history)
    levels = _level(left)
    charts = []
    if "loss" in left:
        # Of a sum of losses, each is a metric of the loss's name; what else a loss tells has a stroke in its name.
        parts = [name for name in left if "/" not in name and name not in ("loss", "epoch_loss", "lr")]
        lines = [Line(NAMES["loss"], *left.pop("loss"), faint=True)]
        lines += [Line(NAMES.get(name, name), *left.pop(name)) for name in ("epoch_loss", *parts) if name in left]
        charts.append(Curves("loss", "Loss", "loss", lines, levels))
    measured = [name for name in ("monitor/acc", "monitor/nmi", "monitor/knn") if name in left]
    if measured:
        lines = [Line(NAMES[name], *left.pop(name)) for name in measured]
        charts.append(Curves("measured", "Measured while training", "fraction of 1", lines))
    main = ("lr", "time/images_per_second")
    for name in sorted(left, key=lambda name: name not in main):
        unit = UNITS.get(name, "learning rate" if name == "lr" else "")
        line = Line(NAMES.get(name, name), *left[name])
        own = {f"{text}, an even spread": level for text, level in levels.items()} if name == "monitor/entropy" else {}
        charts.append(Curves(name.replace("/", "-"), _title(name), unit, [line], own, main=name in main))
    return charts


def of_runs(histories: Mapping[str, Mapping[str, Points]]) -> list[Curves]:
    """The charts of several runs, by their names: one for each metric of the epochs that at least one has."""
    wanted = [name for name in NAMES if name not in ("loss", "time/waiting")]
    charts = []
    for name in wanted:
        lines = [Line(run, *history[name]) for run, history in histories.items() if name in history]
        if lines:
            unit = UNITS.get(name, "")
            charts.append(Curves(name.replace("/", "-"), _title(name), unit, lines))
    return charts


def of_evaluation(place: int, title: str, rows: Sequence[Mapping[str, float | None]]) -> list[Curves]:
    """The charts of an evaluator's own training.

    Args:
        place: of the evaluation among those of the run.
        title: the evaluator's.
        rows: by epoch, values by names such as ``train_loss``; those that end alike share a chart.
    """
    lines: dict[str, list[Line]] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        points = [(epoch, value) for epoch, row in enumerate(rows, 1) if (value := row.get(name)) is not None]
        whose, _, what = name.rpartition("_")
        own = Line(whose or what, [float(epoch) for epoch, _ in points], [value for _, value in points])
        lines.setdefault(what, []).append(own)
    return [
        Curves(
            f"evaluation-{place}-{number}-{re.sub(r'[^a-zA-Z0-9]+', '-', what)}",
            f"{title}: {what}",
            "loss" if what == "loss" else "fraction of 1",
            of_what,
        )
        for number, (what, of_what) in enumerate(lines.items())
    ]


def _level(history: dict[str, Points]) -> dict[str, float]:
    _, values = history.pop(LN_K, ([], []))
    return {"ln K": values[-1]} if values else {}


def _title(name: str) -> str:
    words = NAMES.get(name, name)
    return words[:1].upper() + words[1:]
