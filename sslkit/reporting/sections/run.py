"""All report sections of one run, finished or not."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from sslkit.errors import RunError, SslkitError
from sslkit.features.typical_images import load_typical_images
from sslkit.files import read_regular_file
from sslkit.reporting.encoded_split import EncodedSplit, encode_split
from sslkit.reporting.evaluation_tables import latest_results
from sslkit.reporting.page_elements import FigureWriter
from sslkit.reporting.references import Reference
from sslkit.reporting.sections.class_count import class_count
from sslkit.reporting.sections.classes import class_cards, class_sizes
from sslkit.reporting.sections.confusion import confusion
from sslkit.reporting.sections.evaluations import evaluation_section, headline_metrics, published_section
from sslkit.reporting.sections.feature_map import feature_map
from sslkit.reporting.sections.neighbours import neighbours, neighbours_note
from sslkit.reporting.sections.provenance import provenance_rows
from sslkit.reporting.sections.recipe import component_names, recipe_rows, summary
from sslkit.reporting.sections.recurring import recurrence
from sslkit.reporting.sections.training_curves import by_metric, run_charts
from sslkit.reporting.sections.unusual_images import unusual_images
from sslkit.runs.class_names import read_class_names
from sslkit.runs.evaluation_files import read_evaluations
from sslkit.runs.metrics_file import read_metrics
from sslkit.runs.run import Run

CURVES_NOTE = (
    "Accuracies are measured on the validation split. Where the data have none, it is cut from the labelled training "
    "images: training may have used these images, but never their labels."
)


def run_section(
    run: Run, figures: FigureWriter, reference: Reference | None, device: str, other_runs: Sequence[Tensor] = ()
) -> dict[str, Any]:
    """Return the template variables of one run.

    Args:
        run: the run, finished or not.
        figures: converts and saves the figures.
        reference: published results to show next to the run's evaluations.
        device: device that computes features.
        other_runs: for each other run, an int64 tensor ``[N]`` with its classes of the same images.

    Raises:
        RunError: the run's status, metrics or class names are damaged.
    """
    status = run.status
    notes: list[str] = []
    recipe_text, recipe = read_table(run.recipe, tomllib.loads, notes)
    _, provenance = read_table(run.provenance, json.loads, notes)
    history = by_metric(read_metrics(run.metrics)) if run.metrics.exists() else {}
    charts, more_charts = run_charts(history, figures)
    evaluations, damaged = read_evaluations(run)
    notes += [f"{path} is left out: {reason}" for path, reason in damaged.items()]
    latest = latest_results(evaluations, component_names(recipe, "data") if recipe else "")
    section: dict[str, Any] = {
        "id": figures.prefix,
        "name": run.name,
        "path": str(run.path),
        "state": status.state,
        "summary": summary(recipe, provenance, f"{status.epoch} of {status.epochs}"),
        "recipe_rows": recipe_rows(recipe, provenance, status.steps),
        "recipe": recipe_text.splitlines(),
        "settings": recipe,
        "history": history,
        "charts": charts,
        "more_charts": more_charts,
        "curves_note": CURVES_NOTE if "monitor/knn" in history else "",
        "evaluations": [
            evaluation_section(index, title, name, result, figures)
            for index, (title, (name, result)) in enumerate(latest.items())
        ],
        "headlines": headline_metrics(latest),
        "published": published_section(run, reference) if reference and latest else None,
        "class_count": class_count(run, notes),
        "provenance": provenance_rows(provenance),
        "notes": notes,
    }
    section |= _image_sections(run, status.state, figures, device, notes, other_runs)
    return section | {"absent": [name for name in ("confusion", "map", "neighbours", "unusual") if not section[name]]}


def read_table(path: Path, parse: Callable[[str], Any], notes: list[str]) -> tuple[str, dict[str, Any]]:
    """Return a file's text and the parsed table.

    If the file cannot be read or parsed, the table is empty, and the reason is appended to ``notes``.
    """
    text = ""
    try:
        text = read_regular_file(path)
        table = parse(text)
    except (OSError, ValueError, RecursionError) as error:
        notes.append(f"{path} cannot be read: {error}")
        return text, {}
    return text, table if isinstance(table, dict) else {}


def _image_sections(
    run: Run, state: str, figures: FigureWriter, device: str, notes: list[str], other_runs: Sequence[Tensor]
) -> dict[str, Any]:
    """Return the template variables that need the trained network and the images."""
    section: dict[str, Any] = dict.fromkeys(
        ("classes", "class_sizes", "confusion", "confused_pairs", "confusion_table", "map", "neighbours", "unusual")
    )
    section |= {"labelled": False, "classes_note": "", "recurrence_note": "", "neighbours_note": "", "no_classes": ""}
    if not run.has_weights:
        section["no_classes"] = f"The run is {state}. Classes, map and neighbours are shown once it has finished."
        return section
    try:
        encoded = encode_split(run, device)
    except SslkitError as error:
        notes.append(f"classes, map and neighbours cannot be shown: {error}")
        section["no_classes"] = "They cannot be shown; the notes at the top give the reason."
        return section
    notes += encoded.notes
    names: tuple[str, ...] = ()
    if encoded.discovered is None:
        section["no_classes"] = "The run has no classifier, so it discovered no classes. Its features are shown below."
    else:
        names = read_class_names(run, encoded.discovered.count) or ("",) * encoded.discovered.count
        section["classes"] = class_cards(encoded, encoded.discovered, names, figures)
        texts, section["recurrence_note"] = recurrence(encoded, other_runs)
        for card in section["classes"]:
            card["recurrence"] = texts[card["number"]] if texts else ""
        section["classes_note"] = _classes_note(encoded, encoded.discovered.count, len(section["classes"]))
        section["class_sizes"] = class_sizes(encoded.discovered, names, figures)
        section |= confusion(encoded, encoded.discovered, names, figures)
    return section | {
        "labelled": encoded.split.labels is not None,
        "map": feature_map(encoded, names, figures),
        "neighbours": neighbours(encoded),
        "neighbours_note": neighbours_note(encoded),
        "unusual": unusual_images(encoded, _references(run, encoded, notes)),
    }


def _references(run: Run, encoded: EncodedSplit, notes: list[str]) -> Tensor | None:
    """Return the features of training images that test images are compared with to find outliers.

    Return None if the page shows training images, or if the run has no such features. If their file is damaged, the
    result is None as well, and a note is added.
    """
    if encoded.name == "train":
        return None
    try:
        return load_typical_images(run.typical_images, encoded.features.shape[1])
    except RunError as error:
        notes.append(f"test images are compared with each other: {error}")
        return None


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
