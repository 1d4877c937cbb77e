"""Colours, fonts and output of charts: SVG with the page's CSS colours, or files with a white background."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, LINE, SURFACE, ON_ACCENT = "#1f2327", "#59626d", "#d1d8e1", "#fefeff", "#fffffe"

SERIES = ("#1b6ac9", "#c2410b", "#0f7a55", "#8a3fb4", "#a1660a", "#c02468", "#3c6a75", "#5b5bd6", "#7d5a4a", "#5d7413")
"""Colours of data series, distinct on light and dark pages. Series also differ in marker or dashes."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")

DASHES: tuple[Any, ...] = ("solid", (0, (4, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)))

VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", SURFACE: "surface", ON_ACCENT: "on-accent"} | {
    colour: f"series-{index}" for index, colour in enumerate(SERIES)
}
"""The page's CSS variable for each colour of this module. All colours are distinct."""

STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a class name may contain "$"
    "font.size": 8.5,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so charts are the same on every machine
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "hatch.linewidth": 0.6,
}


@contextmanager
def matplotlib_style(name: str = "") -> Iterator[None]:
    """Apply the chart style inside a ``with`` block. ``name`` makes the element ids of an SVG unique."""
    from matplotlib import rc_context

    with rc_context(STYLE | {"svg.hashsalt": name}), warnings.catch_warnings():
        # A browser shows the SVG in the reader's fonts, so a glyph that DejaVu Sans lacks does no harm.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


@contextmanager
def new_figure(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """Yield a figure of ``width`` by ``height`` inches and its axes."""
    from matplotlib.figure import Figure

    with matplotlib_style():
        figure = Figure((width, height), layout="constrained")
        yield figure, figure.add_subplot()


def inline_svg(figure: Figure, name: str) -> str:
    """Return a figure as SVG for a page, in the page's CSS colours and at the full available width.

    Args:
        figure: figure to convert.
        name: text from which element ids are derived; must be unique within the page.
    """
    file = io.StringIO()
    with matplotlib_style(name):
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<g|<svg[^>]*?) id="[^"]*"', r"\1", text)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"| version="1.1"|font-family: [^;"]*;? ?', "", text)
    text = text.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1)
    return re.sub(r"(?<=: )#[0-9a-f]{6}", lambda match: _css_colour(match[0]), text)


def _css_colour(colour: str) -> str:
    return f"var(--{VARIABLES[colour]})" if colour in VARIABLES else colour


def save_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure with a white background to the files ``<name>.svg`` and ``<name>.png``."""
    with matplotlib_style(name):
        figure.savefig(folder / f"{name}.svg", facecolor="white", metadata={"Date": None})
        figure.savefig(folder / f"{name}.png", facecolor="white", dpi=200)
