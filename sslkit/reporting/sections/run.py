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
from sslkit.reporting.encoded_split import EncodedSplit
from sslkit.reporting.encoding import encode_split
from sslkit.reporting.evaluation_tables import latest_results
from sslkit.reporting.image_plan import IMAGE_BYTES
from sslkit.reporting.page_elements import FigureWriter
from sslkit.reporting.references import Reference
from sslkit.reporting.sections.class_count import class_count
from sslkit.reporting.sections.evaluations import evaluation_section, published_section
from sslkit.reporting.sections.images import image_sections
from sslkit.reporting.sections.opening import opening
from sslkit.reporting.sections.provenance import provenance_rows
from sslkit.reporting.sections.recipe import component_names, recipe_rows, summary
from sslkit.reporting.sections.training_curves import by_metric, run_charts
from sslkit.runs.evaluation_files import read_evaluations
from sslkit.runs.metrics_file import read_metrics
from sslkit.runs.run import Run

CURVES_NOTE = (
    "Accuracies are measured on the validation split. Where the data have none, it is cut from the labelled training "
    "images: training may have used these images, but never their labels."
)


def run_section(
    run: Run,
    figures: FigureWriter,
    reference: Reference | None,
    device: str,
    other_runs: Sequence[Tensor] = (),
    image_bytes: int = IMAGE_BYTES,
) -> dict[str, Any]:
    """Return the template variables of one run.

    Args:
        run: the run, finished or not.
        figures: converts and saves the figures.
        reference: published results to show next to the run's evaluations.
        device: device that computes features.
        other_runs: an int64 tensor ``[N]`` for each other run: the class that this other run assigns to each image.
        image_bytes: largest total size in bytes of the run's images on the page, not counting the map.

    Raises:
        RunError: the run's status, metrics, class names or corrections are damaged.
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
        "published": published_section(run, reference) if reference and latest else None,
        "class_count": class_count(run, notes),
        "provenance": provenance_rows(provenance),
        "notes": notes,
    }
    encoded, reason = _encode(run, status.state, device, notes)
    typical = None if encoded is None else _typical_images(run, encoded, notes)
    section |= opening(run, latest, encoded, typical)
    section |= image_sections(run, encoded, typical, figures, other_runs, image_bytes)
    section["no_classes"] = section["no_classes"] or reason
    absent = [name for name in ("confusions", "map", "neighbours", "unusual") if not section[name]]
    return section | {"absent": absent}


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


def _encode(run: Run, state: str, device: str, notes: list[str]) -> tuple[EncodedSplit | None, str]:
    """Return the images of a run with features and classes; or None, and a sentence with the reason."""
    if not run.has_weights:
        return None, f"The run is {state}. Classes, map and neighbours are shown once it has finished."
    try:
        encoded = encode_split(run, device)
    except SslkitError as error:
        notes.append(f"classes, map and neighbours cannot be shown: {error}")
        return None, "They cannot be shown; the notes at the top give the reason."
    notes += encoded.notes
    return encoded, ""


def _typical_images(run: Run, encoded: EncodedSplit, notes: list[str]) -> Tensor | None:
    """Return features of training images, with which the page finds outliers among test images and fits k-means.

    Return None if the page shows training images, or if the run has no such features. If the file with the features is
    damaged, return None and append the reason to ``notes``.
    """
    if encoded.name == "train":
        return None
    try:
        return load_typical_images(run.typical_images, encoded.features.shape[1])
    except RunError as error:
        notes.append(f"test images are compared with each other: {error}")
        return None
