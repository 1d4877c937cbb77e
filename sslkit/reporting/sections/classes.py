"""Discovered classes: a card with images of each class, and a chart of the class sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from sslkit.evaluation.discovered_classes import DiscoveredClasses
from sslkit.reporting.charts import class_size_chart
from sslkit.reporting.encoded_split import EncodedSplit
from sslkit.reporting.page_elements import Chart, FigureWriter

MAX_CLASSES = 60
"""Maximum number of discovered classes to show. If there are more, the largest classes are shown."""

MANY_CLASSES = 30
"""Up to this number of classes, a card has at most 40 images; with more classes, at most 20."""


def shown_classes(classes: DiscoveredClasses) -> list[int]:
    """Return the sorted numbers of the classes that a page shows: all classes, or the largest ``MAX_CLASSES``."""
    if classes.count <= MAX_CLASSES:
        return list(range(classes.count))
    return classes.sizes.argsort(descending=True, stable=True)[:MAX_CLASSES].sort().values.tolist()


def class_cards(
    encoded: EncodedSplit, classes: DiscoveredClasses, names: Sequence[str], figures: FigureWriter
) -> list[dict[str, Any]]:
    """Return the template variables of each shown class, with its most and least confident images."""
    shown = shown_classes(classes)
    limit = 20 if len(shown) <= MANY_CLASSES else 10
    scores = classes.scores()
    mapping = scores["mapping"] if scores else [None] * classes.count
    return [_card(encoded, classes, number, limit, names, mapping[number], figures) for number in shown]


def _card(
    encoded: EncodedSplit,
    classes: DiscoveredClasses,
    number: int,
    limit: int,
    names: Sequence[str],
    matched: int | None,
    figures: FigureWriter,
) -> dict[str, Any]:
    members = classes.members(number)
    most = members[: min(limit, (len(members) + 1) // 2)]
    least = members[len(most) :][-limit:].flip(0)
    majority = classes.majority(number)
    name = names[number]
    same_name = [other for other, text in enumerate(names) if name and text == name and other != number]
    card: dict[str, Any] = {
        "number": number,
        "name": name,
        "same_name": ", ".join(f"class {other}" for other in same_name),
        "size": len(members),
        "share": len(members) / len(classes.assigned),
        "majority": encoded.class_names[majority[0]] if majority else "",
        "purity": majority[1] if majority else 0.0,
        "matched": "" if matched is None else encoded.class_names[matched],
    }
    for key, indices in (("most", most), ("least", least)):
        differs = None if majority is None else (classes.labels[indices] != majority[0]).tolist()  # type: ignore[index]  # a majority implies labels
        card[f"{key}_confident"] = encoded.tiles(indices, differs)
        figures.grid(f"class-{number}-{key}-confident", encoded.split.images, indices)
    return card


def class_sizes(classes: DiscoveredClasses, names: Sequence[str], figures: FigureWriter) -> Chart:
    """Draw the number of images in each class, and a line at the mean number of images.

    If there are more than 60 classes, they are sorted by size.
    """
    counts = classes.sizes
    table = classes.table
    majority = None if table is None else table.max(dim=1).values
    order = torch.arange(classes.count)
    if classes.count > MAX_CLASSES:
        order = counts.argsort(descending=True, stable=True)
    used, prior = int((counts > 0).sum()), len(classes.assigned) / classes.count
    description = (
        f"{used} of {classes.count} classes have images. The largest class has {int(counts.max())}, the smallest "
        f"{int(counts.min())}; a uniform prior would give each {prior:.4g}."
    )
    figure = class_size_chart(
        counts[order].tolist(),
        None if majority is None else majority[order].tolist(),
        [names[number] or str(number) for number in order.tolist()],
    )
    title = "Class sizes compared with the uniform prior"
    return figures.chart("class-sizes", title, description, figure, caption=description)
