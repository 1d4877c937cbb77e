"""The charts of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sslkit.reporting.chart_style import DASHES, INK, LINE, MARKERS, MUTED, ON_ACCENT, SERIES, SURFACE, drawing
from sslkit.reporting.escape import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NUMBERS = 20
"""Classes up to which a confusion matrix shows its numbers, and bars their names."""


WIDEST = 60
"""Letters that a chart has room for in the one line above it."""


class Line(NamedTuple):
    """One curve: its name and points."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    faint: bool = False


def curves(lines: Sequence[Line], unit: str, levels: Mapping[str, float] | None = None) -> Figure:
    """Curves over epochs, told apart by colour and dashes, with named horizontal levels."""
    columns = 3 if sum(len(line.name) for line in lines if not line.faint) < WIDEST else 1
    with drawing(4.4, 2.5 if columns > 1 else 2.3 + 0.16 * len(lines)) as (figure, axes):
        style = 0
        for line in lines:
            colour = SERIES[style % len(SERIES)]
            if line.faint:
                axes.plot(line.x, line.y, color=colour, linewidth=0.7, alpha=0.45)
                continue
            shape = MARKERS[style % len(MARKERS)] if len(line.x) < 3 else None
            dashes = DASHES[style % len(DASHES)]
            axes.plot(line.x, line.y, color=colour, linestyle=dashes, marker=shape, label=visible(line.name))
            style += 1
        for name, level in (levels or {}).items():
            axes.axhline(level, color=MUTED, linestyle=DASHES[2], linewidth=1)
            axes.annotate(name, (1, level), (0, 2), ("axes fraction", "data"), "offset points", ha="right", color=MUTED)
        axes.set_xlabel("epoch")
        axes.set_ylabel(unit)
        axes.margins(x=0.01)
        if style > 1:
            figure.legend(loc="outside upper left", ncols=columns, labelcolor=INK, borderpad=0, handlelength=2.4)
    return figure


def sizes(counts: Sequence[int], right: Sequence[int] | None, names: Sequence[str]) -> Figure:
    """Images of each discovered class, with the part that bears its commonest label, against the uniform prior."""
    count = len(counts)
    with drawing(max(5.6, min(0.2 * count, 12)), 2.7) as (figure, axes):
        # One path of bars with nothing between them: thousands of bars apart would make a page slow.
        edges = [edge for place in range(count) for edge in (place - 0.4, place + 0.4)]
        whole = _with_gaps(counts)
        if right is None:
            axes.stairs(whole, edges, fill=True, color=SERIES[0])
        else:
            others: Any = {"edgecolor": SERIES[0], "facecolor": "none", "hatch": "//////"}
            axes.stairs(_with_gaps(right), edges, fill=True, color=SERIES[0], label="of the majority label")
            axes.stairs(whole, edges, baseline=_with_gaps(right), fill=True, label="of other labels", **others)
        prior = sum(counts) / count
        axes.axhline(prior, color=INK, linestyle=DASHES[1], linewidth=1, label=f"uniform prior, {prior:.4g}")
        axes.set_ylabel("images")
        axes.set_xlabel("discovered class")
        axes.margins(x=0.02)
        if count <= MOST_NUMBERS:
            _name_columns(axes, names)
        figure.legend(loc="outside upper left", ncols=3, labelcolor=INK, borderpad=0)
    return figure


def confusion(table: Any, totals: Sequence[int], rows: Sequence[str], columns: Sequence[str]) -> Figure:
    """Images ``[C, K]`` of labels in discovered classes, shaded by their share of the labels' ``totals`` ``[C]``."""
    import numpy as np
    from matplotlib.colors import to_rgb

    counts = np.asarray(table)
    shares = counts / np.maximum(np.asarray(totals)[:, None], 1)
    colours = np.empty((*shares.shape, 4))
    colours[..., :3] = to_rgb(SERIES[0])
    colours[..., 3] = shares
    detailed = max(counts.shape) <= MOST_NUMBERS
    side = max(4.4, 0.34 * max(counts.shape)) if detailed else 5.6
    with drawing(side, side * (0.86 if detailed else 0.95)) as (figure, axes):
        axes.grid(visible=False)
        axes.imshow(colours, aspect="auto", interpolation="nearest")
        axes.set_ylabel("label")
        axes.set_xlabel("discovered class, in the order of the matching")
        if detailed:
            _name_columns(axes, columns)
            axes.set_yticks(range(len(rows)), [_short(name) for name in rows])
            for (row, column), count in np.ndenumerate(counts):
                if count:
                    colour = ON_ACCENT if shares[row, column] > 0.55 else INK
                    axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=7.5)
    return figure


def scatter(points: Any, groups: Sequence[int] | None, names: Mapping[int, str]) -> tuple[Figure, list[list[float]]]:
    """Points ``[N, 2]``, those of a group alike, its name at their middle; and where in the figure each point is.

    Returns:
        The figure, and ``[x, y]`` of each point as fractions of the figure's width and height, from the top left.
    """
    import numpy as np

    points = np.asarray(points, dtype=float)
    of = np.zeros(len(points), dtype=int) if groups is None else np.asarray(groups)
    with drawing(6.4, 4.6) as (figure, axes):
        figure.set_layout_engine("none")
        axes.set_position((0.01, 0.01, 0.98, 0.98))
        axes.set_axis_off()
        axes.margins(0.03)
        # So many groups have a colour and a shape of their own; those beyond share one, and are drawn at once.
        looks = of % (len(SERIES) * len(MARKERS))
        for look in np.unique(looks):
            own = points[looks == look]
            colour, shape = SERIES[look % len(SERIES)], MARKERS[(look + look // len(SERIES)) % len(MARKERS)]
            axes.scatter(own[:, 0], own[:, 1], 13, color=colour, marker=shape, alpha=0.75, linewidths=0)
        for group, name in names.items():
            if (of == group).any():
                x, y = np.median(points[of == group], axis=0)
                box = {"boxstyle": "round,pad=0.2", "facecolor": SURFACE, "edgecolor": LINE, "linewidth": 0.6}
                axes.text(x, y, _short(visible(name)), ha="center", va="center", bbox=box, fontweight="bold")
        figure.draw_without_rendering()
        pixels = axes.transData.transform(points) / figure.bbox.size
    return figure, [[round(float(x), 4), round(1 - float(y), 4)] for x, y in pixels]


def _with_gaps(bars: Sequence[int]) -> list[int]:
    return [value for bar in bars for value in (bar, 0)][:-1]


def _name_columns(axes: Axes, names: Sequence[str]) -> None:
    long = max(map(len, names)) > 3
    shown = [_short(name) for name in names]
    axes.set_xticks(range(len(names)), shown, rotation=45 if long else 0, ha="right" if long else "center")


def _short(name: str, most: int = 16) -> str:
    name = visible(name)
    return name if len(name) <= most else f"{name[: most - 1]}…"
