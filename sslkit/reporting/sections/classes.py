"""Classes: a card with images of each class, images without a class, and a chart of the class sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sslkit.contracts.evaluator import IGNORED, OUTLIER
from sslkit.evaluation.corrected_classes import find_leaders
from sslkit.reporting.charts import class_size_chart
from sslkit.reporting.encoded_split import EncodedSplit
from sslkit.reporting.page_elements import Chart, FigureWriter

MAX_CLASSES = 60
"""Maximum number of classes to show. If there are more, the largest classes are shown."""


def class_numbers(encoded: EncodedSplit, names: Mapping[int, str]) -> list[int]:
    """Return the sorted numbers of all classes. Classes that a user merged share a number."""
    if encoded.classes is None or encoded.discovered is None:
        return []
    numbers = range(encoded.discovered.count)
    if encoded.corrections is None:
        return list(numbers)
    leaders = find_leaders({number: name for number, name in names.items() if name})
    found = [number for number in encoded.classes.assigned.unique().tolist() if number >= 0]
    return sorted({leaders.get(number, number) for number in (*numbers, *names, *found)})


def shown_classes(encoded: EncodedSplit, numbers: list[int]) -> list[int]:
    """Return the sorted numbers of the classes that a page shows: all classes, or the largest ``MAX_CLASSES``."""
    assert encoded.classes is not None
    if len(numbers) <= MAX_CLASSES:
        return numbers
    sizes = encoded.classes.sizes
    return sorted(sorted(numbers, key=lambda number: -int(sizes[number]))[:MAX_CLASSES])


def class_cards(
    encoded: EncodedSplit, numbers: list[int], names: Mapping[int, str], figures: FigureWriter
) -> list[dict[str, Any]]:
    """Return the template variables of classes, with the most and the least confident images of each class.

    Args:
        encoded: the images.
        numbers: numbers of the classes to show.
        names: name of each named class, keyed by number.
        figures: saves grids of the images.
    """
    assert encoded.classes is not None
    scores = encoded.classes.scores()
    mapping = scores["mapping"] if scores else [None] * encoded.classes.count
    return [_card(encoded, number, names, mapping[number], figures) for number in numbers]


def _card(
    encoded: EncodedSplit, number: int, names: Mapping[int, str], matched: int | None, figures: FigureWriter
) -> dict[str, Any]:
    classes, discovered = encoded.classes, encoded.discovered
    assert classes is not None
    assert discovered is not None
    all_members = classes.members(number)
    corrected = encoded.is_corrected(all_members)
    members, moved = all_members[~corrected], all_members[corrected]
    limit = encoded.plan.per_row
    most = members[: min(limit, (len(members) + 1) // 2)]
    least = members[len(most) :][-limit:].flip(0) if limit else members[:0]
    majority = classes.majority(number)
    name = names.get(number, "")
    same_name = [other for other, text in names.items() if name and text == name and other != number]
    word = "merged with" if encoded.corrections is not None else "the same name as"
    card: dict[str, Any] = {
        "number": number,
        "name": name,
        "same_name": f"{word} {', '.join(f'class {other}' for other in same_name)}" if same_name else "",
        "added": number >= discovered.count,
        "size": len(all_members),
        "share": len(all_members) / len(classes.assigned),
        "majority": encoded.class_names[majority[0]] if majority else "",
        "purity": majority[1] if majority else 0.0,
        "matched": "" if matched is None else encoded.class_names[matched],
        "moved_count": len(moved),
    }
    for key, indices in (("most_confident", most), ("least_confident", least), ("moved", moved[:limit])):
        labels = classes.labels
        differs = None if majority is None or labels is None else (labels[indices] != majority[0]).tolist()
        card[key] = encoded.tiles(indices, differs)
        if key != "moved":
            figures.grid(f"class-{number}-{key.replace('_', '-')}", encoded.split.images, indices)
    return card


def marked_images(encoded: EncodedSplit) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return up to two groups of images: those that a user marked as outliers, and those marked as ignored.

    Each group is a title with the template variables of its first images. Groups without images are left out.
    """
    assert encoded.classes is not None
    rows = []
    for number, title in ((OUTLIER, "marked as outlier"), (IGNORED, "ignored")):
        images = (encoded.classes.assigned == number).nonzero().flatten()
        if len(images):
            count = "1 image" if len(images) == 1 else f"{len(images)} images"
            rows.append((f"{count} {title} by a user", encoded.tiles(images[: encoded.plan.per_row])))
    return rows


def class_sizes(encoded: EncodedSplit, numbers: list[int], names: Mapping[int, str], figures: FigureWriter) -> Chart:
    """Draw the number of images in each class, and a line at the mean number of images.

    If there are more than 60 classes, they are sorted by size.
    """
    classes = encoded.classes
    assert classes is not None
    order = torch.tensor(numbers)
    if len(numbers) > MAX_CLASSES:
        order = order[classes.sizes[order].argsort(descending=True, stable=True)]
    counts, table = classes.sizes[order], classes.table
    majority: Tensor | None = None if table is None else table.max(dim=1).values[order]
    used, prior = int((counts > 0).sum()), int(counts.sum()) / len(numbers)
    description = (
        f"{used} of {len(numbers)} classes have images. The largest class has {int(counts.max())}, the smallest "
        f"{int(counts.min())}; a uniform prior would give each {prior:.4g}."
    )
    figure = class_size_chart(
        counts.tolist(),
        None if majority is None else majority.tolist(),
        [names.get(number, "") or str(number) for number in order.tolist()],
    )
    title = "Class sizes compared with the uniform prior"
    return figures.chart("class-sizes", title, description, figure, caption=description)
