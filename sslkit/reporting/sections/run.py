"""What a page says of one run, as far as the run got."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from typing import Any

from sslkit.errors import SslkitError
from sslkit.reporting import evaluations
from sslkit.reporting.sections import training_curves as curves
from sslkit.reporting.sections import classes as discoveries
from sslkit.reporting.compare import compare
from sslkit.reporting.facts import facts, origin, parsed, read, summary, used, words
from sslkit.reporting.encoded_split import Findings, find
from sslkit.reporting.page_elements import Gallery, Table
from sslkit.reporting.references import REFERENCES
from sslkit.runs.class_names import read_class_names
from sslkit.runs.evaluation_result import EvaluatorResult
from sslkit.runs.metrics_file import read_metrics
from sslkit.runs.evaluation_files import read_evaluations
from sslkit.runs.run import Run

CURVES_NOTE = (
    "Accuracies were measured on the data's validation split, or where they have none on one cut from the labelled "
    "training images, which training may have seen; it never saw a label."
)

FIRST = (
    ("cluster", "acc", "cluster accuracy, one-to-one"),
    ("cluster", "nmi", "NMI"),
    ("linear", "top1", "linear probe, top-1"),
    ("linear-sgd", "top1", "linear probe by SGD, top-1"),
    ("knn", "top1", "nearest neighbours, top-1"),
    ("finetune", "top1", "fine-tuned, top-1"),
)
"""Figures that stand at the top: evaluator, figure, and what it is called there."""


def describe(run: Run, gallery: Gallery, reference: str | None, device: str) -> dict[str, Any]:
    """Everything a report shows of a run.

    Args:
        run: the run.
        gallery: takes its figures.
        reference: name of published figures; where None, those on the run's data set.
        device: where features are computed.

    Raises:
        RunError: its status, its history or its class names are damaged.
    """
    status = run.status
    notes: list[str] = []
    recipe_text = read(run.recipe, notes)
    recipe = parsed(tomllib.loads, recipe_text, run.recipe, notes)
    record = parsed(json.loads, read(run.provenance, notes), run.provenance, notes)
    history = curves.by_metric(read_metrics(run.metrics)) if run.metrics.exists() else {}
    charts = curves.of_run(history)
    drawn = [(item.main, item.chart(gallery)) for item in charts]
    saved, damaged = read_evaluations(run)
    notes += [f"{path} is left out: {why}" for path, why in damaged.items()]
    newest = evaluations.newest(saved, used(recipe, "data") if recipe else "")
    progress = f"{status.epoch} of {status.epochs}"
    section: dict[str, Any] = {
        "id": gallery.name,
        "name": run.name,
        "path": str(run.path),
        "state": status.state,
        "summary": summary(recipe, record, progress),
        "facts": facts(recipe, record, status.steps),
        "recipe": recipe_text.splitlines(),
        "settings": recipe,
        "history": history,
        "charts": [chart for main, chart in drawn if main],
        "more": [chart for main, chart in drawn if not main],
        "curves_note": CURVES_NOTE if "monitor/knn" in history else "",
        "evaluations": [
            _evaluation(place, title, *found, gallery) for place, (title, found) in enumerate(newest.items())
        ],
        "numbers_first": _numbers_first(newest),
        "references": _references(run, recipe, reference, bool(newest)),
        "provenance": origin(record),
        "notes": notes,
    }
    return section | _found(run, status.state, gallery, device, notes)


def _found(run: Run, state: str, gallery: Gallery, device: str, notes: list[str]) -> dict[str, Any]:
    """What needs the trained network and the images."""
    section: dict[str, Any] = dict.fromkeys(
        ("classes", "sizes", "confusion", "confusions", "numbers", "map", "neighbours")
    )
    section |= {"labelled": False, "classes_note": "", "neighbours_note": "", "no_classes": ""}
    try:
        if not run.has_weights:
            section["no_classes"] = f"The run is {state}: classes, map and neighbours are shown once it has finished."
            return section
        found = find(run, device)
    except SslkitError as error:
        notes.append(f"the images and what the network makes of them cannot be shown: {error}")
        section["no_classes"] = "They cannot be shown; the reason stands at the top."
        return section
    finally:
        section["absent"] = _absent(section)
    notes += found.notes
    labelled = found.split.labels is not None
    section |= {"labelled": labelled, "map": None}
    names: tuple[str, ...] = ()
    if found.discovered is None:
        section["no_classes"] = "The run has no classifier, so it discovered no classes; its features are shown below."
    else:
        names = read_class_names(run, found.discovered.count) or ("",) * found.discovered.count
        section["classes"] = discoveries.cards(found, found.discovered, names, gallery)
        section["classes_note"] = _classes_note(found, len(section["classes"]))
        section["sizes"] = discoveries.sizes(found.discovered, names, gallery)
        section |= discoveries.confusion(found, found.discovered, names, gallery)
    section["map"] = discoveries.plane(found, names, gallery)
    section["neighbours"] = discoveries.neighbours(found)
    section["neighbours_note"] = (
        f"Each framed {found.name} image, and the {found.name} images whose features are nearest to its own by cosine"
        + (", nearest first; ≠ marks those with another label." if labelled else ", nearest first.")
    )
    section["absent"] = _absent(section)
    return section


def _absent(section: dict[str, Any]) -> list[str]:
    return [name for name in ("confusion", "map", "neighbours") if not section[name]]


def _classes_note(found: Findings, shown: int) -> str:
    assert found.discovered is not None
    count, images = found.discovered.count, len(found.discovered.assigned)
    which = f"{count} classes" if shown == count else f"The {shown} largest of {count} classes"
    seen = (
        "which training has not seen" if found.name == "test" else "which it was trained on: there are no test images"
    )
    return (
        f"{which}, on {images} {found.name} images, {seen}. An image belongs to its likeliest class, "
        "whose probability is its confidence."
    )


def _evaluation(place: int, title: str, name: str, result: EvaluatorResult, gallery: Gallery) -> dict[str, Any]:
    columns, rows = evaluations.rows(name, result)
    said = result.protocol
    heading = f"{title}: {said.get('images', '?')} {said.get('split', '')} images of {said.get('data', '?')}"
    return {
        "name": title,
        "table": Table(("", *columns), rows, heading, emphasis=True),
        "charts": [item.chart(gallery) for item in curves.of_evaluation(place, title, result.metrics.get("curves", []))],
        "protocol": [(key, words(value)) for key, value in evaluations.protocol(evaluations.full_protocol(result))],
    }


def _numbers_first(newest: Mapping[str, tuple[str, EvaluatorResult]]) -> list[dict[str, str]]:
    found = []
    for evaluator, figure, name in FIRST:
        if evaluator not in newest:
            continue
        _, result = newest[evaluator]
        value = result.metrics.get(figure)
        if not isinstance(value, float):
            continue
        pixels = result.baselines["kmeans_pixels"].metrics.get(figure) if "kmeans_pixels" in result.baselines else None
        beside = f"k-means on pixels: {pixels:.3f}" if evaluator == "cluster" and isinstance(pixels, float) else ""
        found.append({"name": name, "value": f"{value:.3f}", "beside": beside})
    return found


def _references(run: Run, recipe: dict[str, Any], asked: str | None, evaluated: bool) -> list[dict[str, Any]]:
    """Published figures beside the run's own."""
    if not evaluated:
        return []
    own = used(recipe, "data") if recipe else ""
    wanted = (
        [asked]
        if asked
        else [
            name for name, item in REFERENCES.items() if any(row.settings.get("data.use") == own for row in item.rows)
        ]
    )
    found = []
    for name in wanted:
        result = compare([run], REFERENCES[name])
        figures = list(dict.fromkeys(figure for row in result["rows"][1:] for figure in row["figures"]))
        rows = [[row["label"], *(_three(row["figures"].get(figure)) for figure in figures)] for row in result["rows"]]
        table = Table(("", *figures), rows, "Beside what was published", emphasis=True)
        found.append({"table": table, "differences": result["differences"], **result["reference"]})
    return found


def _three(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
