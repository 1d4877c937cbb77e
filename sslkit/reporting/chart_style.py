"""How charts are drawn: in a page they take its colours, as files they have their own, on white."""

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
"""Told apart from each other and from the page, light or dark; never the only difference between two things."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")

DASHES: tuple[Any, ...] = ("solid", (0, (4, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)))

VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", SURFACE: "surface", ON_ACCENT: "on-accent"} | {
    colour: f"series-{place}" for place, colour in enumerate(SERIES)
}
"""The page's CSS variable for each colour above; no two colours are the same, so that each can be found again."""

STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a class may be called "$"
    "font.size": 8.5,
    "font.family": "DejaVu Sans",  # matplotlib brings it, so a figure is the same everywhere
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
def styled(name: str = "") -> Iterator[None]:
    """How everything is drawn; ``name`` is what the parts of an SVG that refer to each other are named by."""
    from matplotlib import rc_context

    with rc_context(STYLE | {"svg.hashsalt": name}), warnings.catch_warnings():
        # SVGs are shown in the reader's fonts, whatever the one that measures them lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


@contextmanager
def drawing(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """A figure of so many inches and its axes, to draw on."""
    from matplotlib.figure import Figure

    with styled():
        figure = Figure((width, height), layout="constrained")
        yield figure, figure.add_subplot()


def inline_svg(figure: Figure, name: str) -> str:
    """A figure as SVG for a page: its colours are the page's variables, its width the room there is.

    Args:
        figure: the figure.
        name: no other figure of the page has it: what the SVG refers to in itself is named by it.
    """
    text = _svg(figure, name)
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<g|<svg[^>]*?) id="[^"]*"', r"\1", text)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"| version="1.1"|font-family: [^;"]*;? ?', "", text)
    text = text.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1)
    return re.sub(r"(?<=: )#[0-9a-f]{6}", lambda found: _variable(found[0]), text)


def _variable(colour: str) -> str:
    return f"var(--{VARIABLES[colour]})" if colour in VARIABLES else colour


def _svg(figure: Figure, name: str) -> str:
    file = io.StringIO()
    with styled(name):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as ``<name>.svg`` and ``<name>.png``, on white."""
    with styled(name):
        figure.savefig(folder / f"{name}.svg", facecolor="white", metadata={"Date": None})
        figure.savefig(folder / f"{name}.png", facecolor="white", dpi=200)
