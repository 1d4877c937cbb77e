"""Map of the features: a scatter chart. The page shows the image of the point under the pointer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sslkit.reporting.charts import scatter_chart
from sslkit.reporting.encoded_split import EncodedSplit
from sslkit.reporting.page_elements import FigureWriter
from sslkit.reporting.sections.classes import MAX_CLASSES
from sslkit.reporting.thumbnails import data_uri, sprite_sheet

MAX_POINTS = 2000
"""Maximum number of images on the map. If there are more, a random sample is shown."""


def feature_map(encoded: EncodedSplit, names: Sequence[str], figures: FigureWriter) -> dict[str, Any]:
    """Return the template variables of the map, with the sprite sheet and the point positions for the page's script."""
    indices = encoded.sample(MAX_POINTS)
    points, explained = encoded.projection()
    groups = encoded.discovered.assigned[indices].tolist() if encoded.discovered is not None else None
    labels = {number: name or str(number) for number, name in enumerate(names)} if len(names) <= MAX_CLASSES else {}
    figure, positions = scatter_chart(points[indices].numpy(), groups, labels)
    sheet, columns, (width, height) = sprite_sheet(encoded.split.images, indices)
    total = len(encoded.split.images)
    sampled = f" of {total}" if len(indices) < total else ""
    at_random = ", drawn at random" if sampled else ""
    marks = "shapes, colours and numbers" if labels else "shapes and colours"
    legend = f" {marks.capitalize()} show the discovered classes." if groups is not None else ""
    caption = (
        f"{len(indices)}{sampled} {encoded.name} images{at_random}, at the first two principal components of their "
        f"L2-normalised features.{legend} These components explain {100 * explained:.0f} % of the variance: images "
        "that are far apart here differ, but images that are close together need not be similar."
    )
    chart = figures.chart("map", "Map of the features", caption, figure)
    data = {
        "points": positions,
        "texts": [encoded.describe(index) for index in indices.tolist()],
        "columns": columns,
        "width": width,
        "height": height,
    }
    return {
        "svg": chart.svg,
        "description": f"{chart.title}. {caption}",
        "caption": caption,
        "sheet": data_uri(sheet),
        "data": data,
    }
