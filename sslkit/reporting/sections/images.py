"""Report sections that show images: classes, comparison with labels, map, neighbours, outliers and near-duplicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from sslkit.reporting.encoded_split import EncodedSplit
from sslkit.reporting.image_plan import plan_images
from sslkit.reporting.page_elements import FigureWriter
from sslkit.reporting.sections.classes import class_cards, class_numbers, class_sizes, marked_images, shown_classes
from sslkit.reporting.sections.confusion import TITLE, confusion
from sslkit.reporting.sections.feature_map import feature_map
from sslkit.reporting.sections.neighbours import neighbours, neighbours_note
from sslkit.reporting.sections.recurring import recurrence
from sslkit.reporting.sections.unusual_images import unusual_images
from sslkit.runs.class_names import read_added_names, read_class_names
from sslkit.runs.run import Run

MAP_SHARE = 0.4
"""Size of the images of the map, as a share of the largest size of the other images."""


def image_sections(
    run: Run,
    encoded: EncodedSplit | None,
    typical: Tensor | None,
    figures: FigureWriter,
    other_runs: Sequence[Tensor],
    image_bytes: int,
) -> dict[str, Any]:
    """Return the template variables of the sections that show images.

    Args:
        run: the run.
        encoded: the images; None leaves all sections out.
        typical: features ``[M, D]`` of training images, to find outliers.
        figures: converts and saves the figures.
        other_runs: an int64 tensor ``[N]`` for each other run: the class that this other run assigns to each image.
        image_bytes: largest total size in bytes of the run's images on the page, not counting the map.

    Raises:
        RunError: the class names are damaged.
    """
    section: dict[str, Any] = dict.fromkeys(("class_sizes", "map", "neighbours", "unusual"))
    section |= {"classes": [], "marked": [], "confusions": [], "labelled": False, "plan_note": ""}
    section |= dict.fromkeys(
        ("classes_note", "corrections_note", "recurrence_note", "neighbours_note", "no_classes"), ""
    )
    if encoded is None:
        return section
    names: dict[int, str] = {}
    numbers: list[int] = []
    if encoded.discovered is not None:
        count = encoded.discovered.count
        names = dict(enumerate(read_class_names(run, count) or ("",) * count)) | read_added_names(run, count)
        numbers = class_numbers(encoded, names)
    shown = shown_classes(encoded, numbers) if numbers else []
    sizes = [] if encoded.classes is None else encoded.classes.sizes[shown].tolist()
    encoded = replace(encoded, plan=plan_images(encoded.originals, sizes, image_bytes))
    if not encoded.plan.per_row:
        section["plan_note"] = "Images are left out, so that the file stays small: write a report on fewer runs."
    if encoded.discovered is None:
        section["no_classes"] = "The run has no classifier, so it discovered no classes. Its features are shown below."
    else:
        section |= _class_sections(encoded, numbers, shown, names, figures, other_runs)
    return section | {
        "labelled": encoded.split.labels is not None,
        "map": feature_map(encoded, names, figures, int(MAP_SHARE * image_bytes)) if encoded.plan.per_row else None,
        "neighbours": neighbours(encoded) if encoded.plan.per_row else None,
        "neighbours_note": neighbours_note(encoded),
        "unusual": unusual_images(encoded, typical) if encoded.plan.per_row else None,
    }


def _class_sections(
    encoded: EncodedSplit,
    numbers: list[int],
    shown: list[int],
    names: Mapping[int, str],
    figures: FigureWriter,
    other_runs: Sequence[Tensor],
) -> dict[str, Any]:
    assert encoded.discovered is not None
    assert encoded.classes is not None
    cards = class_cards(encoded, shown, names, figures)
    texts, note = recurrence(encoded, other_runs)
    for card in cards:
        own = texts and not card["added"] and not card["same_name"]
        card["recurrence"] = texts[card["number"]] if own else ""
    comparisons = [confusion(encoded, encoded.discovered, names, figures)]
    corrections = encoded.corrections
    if corrections is not None and bool(corrections.corrected.any()):
        comparisons.append(confusion(encoded, encoded.classes, names, figures, f"{TITLE}, with corrections"))
    return {
        "classes": cards,
        "marked": marked_images(encoded),
        "recurrence_note": note,
        "classes_note": _classes_note(encoded, len(numbers), len(shown)),
        "corrections_note": _corrections_note(encoded),
        "class_sizes": class_sizes(encoded, numbers, names, figures),
        "confusions": [each for each in comparisons if each is not None],
    }


def _classes_note(encoded: EncodedSplit, count: int, shown: int) -> str:
    classes = f"{count} classes" if shown == count else f"The {shown} largest of {count} classes"
    seen = (
        "which training has not seen"
        if encoded.name == "test"
        else "which the run was trained on, as there are no test images"
    )
    return (
        f"{classes}, on {len(encoded.features)} {encoded.name} images, {seen}. Each image belongs to its most probable "
        "class; the confidence is that probability."
    )


def _corrections_note(encoded: EncodedSplit) -> str:
    """Return the report's note on a user's corrections and merges of classes, or ``""`` if there are none."""
    if encoded.corrections is None:
        return ""
    own, every = int(encoded.corrections.corrected.sum()), encoded.corrections.images
    changes = "merges of classes" if not every else f"corrections of {own} of these images by a user ({every} in all)"
    return (
        f"The classes contain {changes}. Metrics of the network never contain corrections; metrics with corrections "
        "are shown next to them."
    )
