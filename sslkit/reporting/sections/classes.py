"""What pages show of discovered classes: cards of images, sizes, agreement with labels, the map, neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sslkit.evaluation.discovered import Discovered
from sslkit.reporting import thumbnails as pictures
from sslkit.reporting import charts as figures
from sslkit.reporting.encoded_split import MAP_IMAGES, Findings
from sslkit.reporting.page_elements import Chart, Gallery, Table

MOST_CLASSES = 60
"""Discovered classes that are shown; of more, the largest."""

MANY = 30
"""Classes up to which each shows many images."""

PIXELATED = 32
"""Longest side in pixels up to which images are shown with their pixels, not blurred."""


def tiles(
    found: Findings, places: Sequence[int] | Tensor, differs: Sequence[bool] | None = None
) -> list[dict[str, Any]]:
    """Images for a page, each with its text; those that differ are marked, and their text says so."""
    index = torch.as_tensor(places, dtype=torch.int64)
    marks = differs or [False] * len(index)
    small = max(found.split.images.shape[1:]) <= PIXELATED
    return [
        {
            "uri": uri,
            "text": found.describe(place) + (", which differs" if mark else ""),
            "differs": mark,
            "small": small,
        }
        for uri, place, mark in zip(pictures.thumbnails(found.split.images, index), index.tolist(), marks, strict=True)
    ]


def shown_classes(classes: Discovered) -> list[int]:
    """The classes that a page shows, in order: all, or the largest."""
    if classes.count <= MOST_CLASSES:
        return list(range(classes.count))
    return classes.sizes.argsort(descending=True, stable=True)[:MOST_CLASSES].sort().values.tolist()


def cards(found: Findings, classes: Discovered, names: Sequence[str], gallery: Gallery) -> list[dict[str, Any]]:
    """The discovered classes, each with its most and its least confident images."""
    shown = shown_classes(classes)
    many = 20 if len(shown) <= MANY else 10
    scores = classes.scores()
    return [
        _card(found, classes, place, many, names, scores["mapping"] if scores else None, gallery) for place in shown
    ]


def _card(
    found: Findings, classes: Discovered, place: int, many: int, names: Sequence[str], mapping: Any, gallery: Gallery
) -> dict[str, Any]:
    members = classes.members(place)
    most = members[: min(many, (len(members) + 1) // 2)]
    least = members[len(most) :][-many:].flip(0)
    majority = classes.majority(place)
    name = names[place]
    alike = [other for other, text in enumerate(names) if name and text == name and other != place]
    card: dict[str, Any] = {
        "place": place,
        "name": name,
        "alike": ", ".join(f"class {other}" for other in alike),
        "size": len(members),
        "share": len(members) / len(classes.assigned),
        "majority": found.class_names[majority[0]] if majority else "",
        "purity": majority[1] if majority else 0.0,
        "matched": found.class_names[mapping[place]] if mapping and mapping[place] is not None else "",
    }
    for key, places in (("most", most), ("least", least)):
        differs = None if majority is None else (classes.labels[places] != majority[0]).tolist()  # type: ignore[index]  # a majority is one of labels
        card[key] = tiles(found, places, differs)
        gallery.grid(f"class-{place}-{key}-confident", found.split.images, places)
    return card


def sizes(classes: Discovered, names: Sequence[str], gallery: Gallery) -> Chart:
    """The images of each class against the uniform prior; of very many classes, in order of size."""
    counts = classes.sizes
    table = classes.table
    right = None if table is None else table.max(dim=1).values
    order = torch.arange(classes.count)
    if classes.count > MOST_CLASSES:
        order = counts.argsort(descending=True, stable=True)
    used, prior = int((counts > 0).sum()), len(classes.assigned) / classes.count
    words = (
        f"{used} of {classes.count} classes have images; the largest has {int(counts.max())}, the smallest "
        f"{int(counts.min())}; the uniform prior would give each {prior:.4g}"
    )
    figure = figures.sizes(
        counts[order].tolist(),
        None if right is None else right[order].tolist(),
        [names[place] or str(place) for place in order.tolist()],
    )
    return gallery.chart("class-sizes", "Class sizes against the uniform prior", words, figure, caption=f"{words}.")


def confusion(found: Findings, classes: Discovered, names: Sequence[str], gallery: Gallery) -> dict[str, Any]:
    """The confusion matrix after the one-to-one matching, and the pairs most often confused."""
    table, scores = classes.table, classes.scores()
    if table is None or scores is None:
        return {"confusion": None, "confusions": None, "numbers": None}
    counts, mapping = table.tolist(), scores["mapping"]
    order = sorted(
        range(classes.count), key=lambda place: (mapping[place] is None, mapping[place], -sum(counts[place]))
    )
    if classes.count > max(2 * classes.classes, MOST_CLASSES):
        order = order[: 2 * classes.classes]
    some = "" if len(order) == classes.count else f"{len(order)} of {classes.count} "
    columns = [names[place] or str(place) for place in order]
    by_label = [[counts[place][number] for place in order] for number in range(classes.classes)]
    caption = (
        f"Rows are labels, columns {some}discovered classes in the order of the matching, shaded by their share of the "
        f"label's {found.name} images. On the diagonal are those that are right: {scores['acc']:.3f} of all "
        f"{len(classes.assigned)} (one-to-one, Hungarian; unmatched classes count as wrong)."
    )
    figure = figures.confusion(by_label, table.sum(dim=0).tolist(), found.class_names, columns)
    small = classes.classes <= figures.MOST_NUMBERS and len(order) <= 2 * figures.MOST_NUMBERS
    rows = [(label, *map(str, row)) for label, row in zip(found.class_names, by_label, strict=True)]
    confused = _confused(found, counts, mapping, names)
    heads = ("discovered class", "matched with", "holds images of", "images")
    return {
        "confusion": gallery.chart("confusion", "Confusion matrix after matching", caption, figure, caption=caption),
        "confusions": Table(heads, confused, "Most confused") if confused else None,
        "numbers": Table(("label", *columns), rows) if small else None,
    }


def _confused(
    found: Findings, counts: list[list[int]], mapping: Sequence[int | None], names: Sequence[str], most: int = 8
) -> list[tuple[str, ...]]:
    pairs = [
        (images, place, matched, number)
        for place, matched in enumerate(mapping)
        if matched is not None
        for number, images in enumerate(counts[place])
        if number != matched and images
    ]
    return [
        (
            f"{place}, {names[place]}" if names[place] else str(place),
            found.class_names[matched],
            found.class_names[number],
            str(images),
        )
        for images, place, matched, number in sorted(pairs, key=lambda pair: -pair[0])[:most]
    ]


def plane(found: Findings, names: Sequence[str], gallery: Gallery) -> dict[str, Any]:
    """The map of features, with a sheet of its images for the page's script."""
    places = found.sample(MAP_IMAGES)
    points, share = found.projection()
    groups = found.discovered.assigned[places].tolist() if found.discovered is not None else None
    labels = {place: name or str(place) for place, name in enumerate(names)} if len(names) <= MOST_CLASSES else {}
    figure, where = figures.scatter(points[places].numpy(), groups, labels)
    drawn, columns, (width, height) = pictures.sheet(found.split.images, places)
    whole = len(found.split.images)
    some = (
        f"{len(places)} of {whole} {found.name} images, drawn at random"
        if len(places) < whole
        else f"{whole} {found.name} images"
    )
    marks = "shapes, colours and numbers" if labels else "shapes and colours"
    told = f"; {marks} are the discovered classes" if groups is not None else ""
    caption = (
        f"{some}, where the first two principal components of their L2-normalised features put them{told}. "
        f"These two hold {100 * share:.0f} % of the variance: what lies apart here is apart, what lies together need "
        "not be near."
    )
    chart = gallery.chart("map", "Map of the features", caption, figure)
    data = {
        "points": where,
        "texts": [found.describe(place) for place in places.tolist()],
        "columns": columns,
        "width": width,
        "height": height,
    }
    return {
        "svg": chart.svg,
        "words": f"Map of the features. {caption}",
        "caption": caption,
        "sheet": pictures.uri(drawn),
        "data": data,
    }


def neighbours(found: Findings) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Images and their nearest neighbours, those with another label marked."""
    labels = found.split.labels
    rows = []
    for query, near in found.neighbours():
        differs = None if labels is None else [bool(labels[place] != labels[query]) for place in near]
        rows.append((tiles(found, [query])[0], tiles(found, near, differs)))
    return rows
