"""Charts and tables on a page. Charts can also be saved as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup
from torch import Tensor

from sslkit.contracts.dataset import ImageStore
from sslkit.reporting.chart_style import inline_svg, save_figure
from sslkit.reporting.thumbnails import image_grid, thumbnails

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Chart:
    """A chart on a page. ``description`` is the text for screen readers."""

    title: str
    description: str
    svg: Markup
    caption: str = ""


@dataclass(frozen=True)
class Table:
    """A table of text cells.

    Attributes:
        columns: column names.
        rows: cells of each row, one string for each column.
        title: table title.
        highlight_first: whether the first row is bold.
        left_aligned: whether all cells are left-aligned, for tables of words. Otherwise only the first column is.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    highlight_first: bool = False
    left_aligned: bool = False


@dataclass(frozen=True)
class FigureWriter:
    """Converter of one run's matplotlib figures to charts on a page; also saves the figures if ``folder`` is set.

    Attributes:
        prefix: prefix of the element ids of these figures, unique within the page.
        folder: folder for the saved figures; None saves no figures.
    """

    prefix: str
    folder: Path | None = None

    def chart(self, name: str, title: str, description: str, figure: Figure, caption: str = "") -> Chart:
        """Convert a figure to a chart on the page. If ``folder`` is set, also save an SVG and a PNG file there.

        Args:
            name: file name without suffix; unique among the charts of the run.
            title: title above the chart.
            description: text for screen readers.
            figure: the figure.
            caption: text below the chart; may be empty.
        """
        if self.folder is not None:
            save_figure(figure, self.folder, name)
        return Chart(title, description, Markup(inline_svg(figure, f"{self.prefix}-{name}")), caption)

    def grid(self, name: str, images: ImageStore, indices: Tensor, columns: int = 10) -> None:
        """If ``folder`` is set, save a grid ``<name>.png`` of the images at ``indices``, ``columns`` per row."""
        if self.folder is not None and len(indices):
            image_grid(thumbnails(images, indices), columns).save(self.folder / f"{name}.png")
