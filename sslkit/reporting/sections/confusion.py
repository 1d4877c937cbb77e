"""Discovered classes compared with labels: the confusion matrix and the pairs that are confused most often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sslkit.evaluation.discovered_classes import DiscoveredClasses
from sslkit.reporting.charts import MAX_LABELLED, confusion_matrix
from sslkit.reporting.encoded_split import EncodedSplit
from sslkit.reporting.page_elements import FigureWriter, Table
from sslkit.reporting.sections.classes import MAX_CLASSES

TITLE = "Confusion matrix after matching"
"""Title of the chart for the discovered classes, without corrections."""

MAX_PAIRS = 8
"""Maximum number of confused pairs to list."""


def confusion(
    encoded: EncodedSplit,
    classes: DiscoveredClasses,
    names: Mapping[int, str],
    figures: FigureWriter,
    title: str = TITLE,
) -> dict[str, Any] | None:
    """Return the confusion matrix as a chart and as a table, and the pairs that are confused most often.

    Discovered classes are first matched with labels one to one. Return None without labels.

    Args:
        encoded: the images.
        classes: classes to compare with the labels, with or without corrections.
        names: name of each named class, keyed by number.
        figures: converts and saves the chart.
        title: title of the chart.
    """
    table, scores = classes.table, classes.scores()
    if table is None or scores is None:
        return None
    counts, mapping = table.tolist(), scores["mapping"]
    numbers = range(classes.count) if classes is encoded.discovered else classes.sizes.nonzero().flatten().tolist()
    order = sorted(numbers, key=lambda number: (mapping[number] is None, mapping[number], -sum(counts[number])))
    if len(order) > max(2 * classes.classes, MAX_CLASSES):
        order = order[: 2 * classes.classes]
    some = "" if len(order) == len(numbers) else f"{len(order)} of {len(numbers)} "
    columns = [names.get(number, "") or str(number) for number in order]
    by_label = [[counts[number][label] for number in order] for label in range(classes.classes)]
    caption = (
        f"Rows are labels, columns are {some}discovered classes in the order of the matching. A cell is shaded by its "
        f"share of the label's {encoded.name} images. The diagonal holds the correct ones: {scores['acc']:.3f} of all "
        f"{int(table.sum())} (one-to-one, Hungarian; unmatched classes count as wrong)."
    )
    name = "confusion" if classes is encoded.discovered else "confusion-corrected"
    figure = confusion_matrix(by_label, table.sum(dim=0).tolist(), encoded.class_names, columns)
    small = classes.classes <= MAX_LABELLED and len(order) <= 2 * MAX_LABELLED
    rows = [(label, *map(str, row)) for label, row in zip(encoded.class_names, by_label, strict=True)]
    pairs = _confused_pairs(encoded, counts, mapping, names)
    pair_columns = ("discovered class", "matched label", "actual label", "images")
    return {
        "chart": figures.chart(name, title, caption, figure, caption=caption),
        "pairs": Table(pair_columns, pairs, title.replace(TITLE, "Most confused")) if pairs else None,
        "table": Table(("label", *columns), rows) if small else None,
        "accuracy": scores["acc"],
    }


def _confused_pairs(
    encoded: EncodedSplit, counts: list[list[int]], mapping: Sequence[int | None], names: Mapping[int, str]
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
            f"{number}, {names[number]}" if names.get(number) else str(number),
            encoded.class_names[matched],
            encoded.class_names[label],
            str(images),
        )
        for images, number, matched, label in sorted(pairs, key=lambda pair: -pair[0])[:MAX_PAIRS]
    ]
