"""Charts of the report, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sslkit.reporting.chart_style import DASHES, INK, LINE, MARKERS, MUTED, ON_ACCENT, SERIES, SURFACE, new_figure
from sslkit.reporting.escape import escape_controls

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_LABELLED = 20
"""Maximum number of classes for which a confusion matrix shows counts, and bars show class names."""

LEGEND_LENGTH = 60
"""Maximum number of characters in a one-line legend."""


class Curve(NamedTuple):
    """A curve of a line chart.

    A faint curve, such as the noisy loss of single steps, is drawn thin and has no legend entry.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    faint: bool = False


def line_chart(
    curves: Sequence[Curve], unit: str, levels: Mapping[str, float] | None = None, x_label: str = "epoch"
) -> Figure:
    """Draw curves, with a horizontal line at each named level. ``unit`` is the label of the y-axis."""
    columns = 3 if sum(len(curve.name) for curve in curves if not curve.faint) < LEGEND_LENGTH else 1
    with new_figure(4.4, 2.5 if columns > 1 else 2.3 + 0.16 * len(curves)) as (figure, axes):
        style = 0
        for curve in curves:
            colour = SERIES[style % len(SERIES)]
            if curve.faint:
                axes.plot(curve.x, curve.y, color=colour, linewidth=0.7, alpha=0.45)
                continue
            marker = MARKERS[style % len(MARKERS)] if len(curve.x) < 3 else None
            dashes = DASHES[style % len(DASHES)]
            label = escape_controls(curve.name)
            axes.plot(curve.x, curve.y, color=colour, linestyle=dashes, marker=marker, label=label)
            style += 1
        for name, level in (levels or {}).items():
            axes.axhline(level, color=MUTED, linestyle=DASHES[2], linewidth=1)
            axes.annotate(name, (1, level), (0, 2), ("axes fraction", "data"), "offset points", ha="right", color=MUTED)
        axes.set_xlabel(x_label)
        axes.set_ylabel(unit)
        axes.margins(x=0.01)
        if style > 1:
            figure.legend(loc="outside upper left", ncols=columns, labelcolor=INK, borderpad=0, handlelength=2.4)
    return figure


def class_size_chart(counts: Sequence[int], majority: Sequence[int] | None, names: Sequence[str]) -> Figure:
    """Draw the number of images in each discovered class, and a line at the mean number of images.

    Args:
        counts: number of images in each class.
        majority: number of images in each class that have the class's majority label, or None if there are no labels.
        names: names of the classes.
    """
    count = len(counts)
    with new_figure(max(5.6, min(0.2 * count, 12)), 2.7) as (figure, axes):
        # One path for all bars: thousands of separate bars would make the page slow.
        edges = [edge for index in range(count) for edge in (index - 0.4, index + 0.4)]
        tops = _with_gaps(counts)
        if majority is None:
            axes.stairs(tops, edges, fill=True, color=SERIES[0])
        else:
            hatched: Any = {"edgecolor": SERIES[0], "facecolor": "none", "hatch": "//////"}
            axes.stairs(_with_gaps(majority), edges, fill=True, color=SERIES[0], label="majority label")
            axes.stairs(tops, edges, baseline=_with_gaps(majority), fill=True, label="other labels", **hatched)
        prior = sum(counts) / count
        axes.axhline(prior, color=INK, linestyle=DASHES[1], linewidth=1, label=f"uniform prior, {prior:.4g}")
        axes.set_ylabel("images")
        axes.set_xlabel("discovered class")
        axes.margins(x=0.02)
        if count <= MAX_LABELLED:
            _label_columns(axes, names)
        figure.legend(loc="outside upper left", ncols=3, labelcolor=INK, borderpad=0)
    return figure


def confusion_matrix(table: Any, totals: Sequence[int], rows: Sequence[str], columns: Sequence[str]) -> Figure:
    """Draw a confusion matrix: the number of images for each pair of label and discovered class.

    Args:
        table: counts ``[C, K]``.
        totals: number of images with each label ``[C]``; the shade of a cell shows the cell's share of its label's
            images.
        rows: names of the labels.
        columns: names of the discovered classes.
    """
    import numpy as np
    from matplotlib.colors import to_rgb

    counts = np.asarray(table)
    shares = counts / np.maximum(np.asarray(totals)[:, None], 1)
    colours = np.empty((*shares.shape, 4))
    colours[..., :3] = to_rgb(SERIES[0])
    colours[..., 3] = shares
    labelled = max(counts.shape) <= MAX_LABELLED
    side = max(4.4, 0.34 * max(counts.shape)) if labelled else 5.6
    with new_figure(side, side * (0.86 if labelled else 0.95)) as (figure, axes):
        axes.grid(visible=False)
        axes.imshow(colours, aspect="auto", interpolation="nearest")
        axes.set_ylabel("label")
        axes.set_xlabel("discovered class, in the order of the matching")
        if labelled:
            _label_columns(axes, columns)
            axes.set_yticks(range(len(rows)), [_shorten(name) for name in rows])
            for (row, column), count in np.ndenumerate(counts):
                if count:
                    colour = ON_ACCENT if shares[row, column] > 0.55 else INK
                    axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=7.5)
    return figure


def scatter_chart(points: Any, groups: Sequence[int] | None, names: Mapping[int, str]) -> Figure:
    """Draw points with a colour and marker for each group, and the group's name at the median of its points.

    Args:
        points: coordinates ``[N, 2]``.
        groups: group index of each point, or None if all points form one group.
        names: name of each group; groups without a name are not labelled.
    """
    import numpy as np

    points = np.asarray(points, dtype=float)
    group_of = np.zeros(len(points), dtype=int) if groups is None else np.asarray(groups)
    with new_figure(6.4, 4.6) as (figure, axes):
        figure.set_layout_engine("none")
        axes.set_position((0.01, 0.01, 0.98, 0.98))
        axes.set_axis_off()
        axes.margins(0.03)
        # There are 100 styles, so group 100 has the style of group 0. Points of one style are drawn at once.
        styles = group_of % (len(SERIES) * len(MARKERS))
        for style in np.unique(styles):
            own = points[styles == style]
            colour, marker = SERIES[style % len(SERIES)], MARKERS[(style + style // len(SERIES)) % len(MARKERS)]
            axes.scatter(own[:, 0], own[:, 1], 13, color=colour, marker=marker, alpha=0.75, linewidths=0)
        for group, name in names.items():
            if (group_of == group).any():
                x, y = np.median(points[group_of == group], axis=0)
                box = {"boxstyle": "round,pad=0.2", "facecolor": SURFACE, "edgecolor": LINE, "linewidth": 0.6}
                axes.text(x, y, _shorten(name), ha="center", va="center", bbox=box, fontweight="bold")
    return figure


def _with_gaps(bars: Sequence[int]) -> list[int]:
    return [value for bar in bars for value in (bar, 0)][:-1]


def _label_columns(axes: Axes, names: Sequence[str]) -> None:
    long = max(map(len, names)) > 3
    labels = [_shorten(name) for name in names]
    axes.set_xticks(range(len(names)), labels, rotation=45 if long else 0, ha="right" if long else "center")


def _shorten(name: str, limit: int = 16) -> str:
    name = escape_controls(name)
    return name if len(name) <= limit else f"{name[: limit - 1]}…"
