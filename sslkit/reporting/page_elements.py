"""What a page is made of, and the same figures as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup
from torch import Tensor

from sslkit.contracts.dataset import ImageStore
from sslkit.reporting import thumbnails as pictures
from sslkit.reporting import chart_style as drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Chart:
    """A chart in a page: ``words`` say what it shows to who cannot see it."""

    title: str
    words: str
    svg: Markup
    caption: str = ""


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        columns: their names.
        rows: a text for each column.
        title: what it shows.
        emphasis: whether the first row is the one that counts.
        left: whether it holds words, not numbers.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    emphasis: bool = False
    left: bool = False


@dataclass(frozen=True)
class Gallery:
    """Figures of one run.

    Attributes:
        name: begins the names of its figures within a page; no other run of the page has it.
        folder: where figures are also written as files; None: nowhere.
    """

    name: str
    folder: Path | None = None

    def chart(self, name: str, title: str, words: str, figure: Figure, caption: str = "") -> Chart:
        """A figure for the page; as ``<name>.svg`` and ``<name>.png`` in the folder too."""
        if self.folder is not None:
            drawing.save(figure, self.folder, name)
        return Chart(title, words, Markup(drawing.inline_svg(figure, f"{self.name}-{name}")), caption)

    def grid(self, name: str, images: ImageStore, places: Tensor, columns: int = 10) -> None:
        """Images in rows, as ``<name>.png`` in the folder; nothing without a folder."""
        if self.folder is not None and len(places):
            drawn = [pictures.picture(pixels) for pixels in images.gather(places)]
            pictures.grid(drawn, columns).save(self.folder / f"{name}.png")
