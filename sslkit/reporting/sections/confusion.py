"""Discovered classes compared with labels: the confusion matrix and the pairs that are confused most often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sslkit.evaluation.discovered_classes import DiscoveredClasses
from sslkit.reporting.charts import MAX_LABELLED, confusion_matrix
from sslkit.reporting.encoded_split import EncodedSplit
from sslkit.reporting.page_elements import FigureWriter, Table
from sslkit.reporting.sections.classes import MAX_CLASSES

MAX_PAIRS = 8
"""Maximum number of confused pairs to list."""


def confusion(
    encoded: EncodedSplit, classes: DiscoveredClasses, names: Sequence[str], figures: FigureWriter
) -> dict[str, Any]:
    """Return the confusion matrix as a chart and as a table, and the pairs that are confused most often.

    Discovered classes are first matched with labels one to one. A value is None if there is nothing to show, for
    example without labels.
    """
    table, scores = classes.table, classes.scores()
    if table is None or scores is None:
        return {"confusion": None, "confused_pairs": None, "confusion_table": None}
    counts, mapping = table.tolist(), scores["mapping"]
    order = sorted(
        range(classes.count), key=lambda number: (mapping[number] is None, mapping[number], -sum(counts[number]))
    )
    if classes.count > max(2 * classes.classes, MAX_CLASSES):
        order = order[: 2 * classes.classes]
    some = "" if len(order) == classes.count else f"{len(order)} of {classes.count} "
    columns = [names[number] or str(number) for number in order]
    by_label = [[counts[number][label] for number in order] for label in range(classes.classes)]
    caption = (
        f"Rows are labels, columns are {some}discovered classes in the order of the matching. A cell is shaded by its "
        f"share of the label's {encoded.name} images. The diagonal holds the correct ones: {scores['acc']:.3f} of all "
        f"{len(classes.assigned)} (one-to-one, Hungarian; unmatched classes count as wrong)."
    )
    figure = confusion_matrix(by_label, table.sum(dim=0).tolist(), encoded.class_names, columns)
    small = classes.classes <= MAX_LABELLED and len(order) <= 2 * MAX_LABELLED
    rows = [(label, *map(str, row)) for label, row in zip(encoded.class_names, by_label, strict=True)]
    pairs = _confused_pairs(encoded, counts, mapping, names)
    pair_columns = ("discovered class", "matched label", "actual label", "images")
    return {
        "confusion": figures.chart("confusion", "Confusion matrix after matching", caption, figure, caption=caption),
        "confused_pairs": Table(pair_columns, pairs, "Most confused") if pairs else None,
        "confusion_table": Table(("label", *columns), rows) if small else None,
    }


def _confused_pairs(
    encoded: EncodedSplit, counts: list[list[int]], mapping: Sequence[int | None], names: Sequence[str]
) -> list[tuple[str, ...]]:
    pairs = [
        (images, number, matched, label)
        for number, matched in enumerate(mapping)
        if matched is not None
        for label, images in enumerate(counts[number])
        if label != matched and images
    ]
    return [
        (
            f"{number}, {names[number]}" if names[number] else str(number),
            encoded.class_names[matched],
            encoded.class_names[label],
            str(images),
        )
        for images, number, matched, label in sorted(pairs, key=lambda pair: -pair[0])[:MAX_PAIRS]
    ]
