"""The page for naming discovered classes, and the names that users give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sslkit import __version__
from sslkit.errors import InputError, RunError
from sslkit.files import write_atomic
from sslkit.reporting.encoding import encode_split
from sslkit.reporting.image_plan import plan_images
from sslkit.reporting.page_elements import FigureWriter
from sslkit.reporting.render import render_page
from sslkit.reporting.sections.classes import class_cards, shown_classes
from sslkit.runs.class_names import read_added_names, read_class_names, write_class_names
from sslkit.runs.run import Run
from sslkit.trained.network import TrainedNetwork


def write_label_page(run: Run, device: str = "cpu") -> tuple[Path, tuple[str, ...]]:
    """Write ``label.html``, and ``classes.toml`` with a line for each class; existing names are kept.

    Returns:
        Path of the page, and the name of each discovered class; ``""`` for a class without a name.

    Raises:
        RunError: the run has not finished, has no classifier, or its ``classes.toml`` cannot be read.
        DataError: the run's images are missing.
    """
    encoded = replace(encode_split(run, device), corrections=None)  # names belong to the discovered classes
    if encoded.discovered is None:
        raise _no_classes(run)
    count = encoded.discovered.count
    shown = shown_classes(encoded, list(range(count)))
    encoded = replace(encoded, plan=plan_images(encoded.originals, len(shown)))
    names = read_class_names(run, count) or ("",) * count
    path = run.path / "label.html"
    values = {
        "title": f"Name the classes of {run.name}",
        "version": __version__,
        "run": str(run.path),
        "split": encoded.name,
        "count": count,
        "labelled": encoded.split.labels is not None,
        "classes": class_cards(encoded, shown, dict(enumerate(names)), FigureWriter("label")),
    }
    write_atomic(path, render_page("label.html", ("viewer.js", "label.js"), values))
    write_class_names(run, names, read_added_names(run, count))
    return path, names


def name_classes(run: Run, names: Mapping[int, str]) -> tuple[str, ...]:
    """Name some of a run's discovered classes. The other classes keep their names.

    Args:
        run: a finished run.
        names: new names, keyed by class number; ``""`` removes a name.

    Returns:
        The names of all classes.

    Raises:
        RunError: the run has not finished or has no such classes, or its ``classes.toml`` cannot be read.
        InputError: a name is not valid UTF-8.
    """
    count = TrainedNetwork(run, "cpu").classes
    if not count:
        raise _no_classes(run)
    all_names = list(read_class_names(run, count) or ("",) * count)
    for number, name in names.items():
        if not 0 <= number < count:
            raise RunError(f"there is no class {number}; the classes of {run.name} are 0 to {count - 1}")
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise InputError(f"the name of class {number} is not valid UTF-8: {name!a}")
        all_names[number] = name.strip()
    write_class_names(run, all_names, read_added_names(run, count))
    return tuple(all_names)


def _no_classes(run: Run) -> RunError:
    return RunError(f"{run.name} has no classes to name: its network has no classifier")
