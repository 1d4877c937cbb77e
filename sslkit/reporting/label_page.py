"""The page on which a run's discovered classes are named, and their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sslkit import __version__
from sslkit.errors import InputError, RunError
from sslkit.files import write_atomic
from sslkit.reporting.sections.classes import cards
from sslkit.reporting.encoded_split import find
from sslkit.reporting.page_elements import Gallery
from sslkit.reporting.render import render
from sslkit.runs.class_names import read_class_names, write_class_names
from sslkit.runs.run import Run
from sslkit.trained.network import TrainedNetwork


@dataclass(frozen=True)
class Labelled:
    """What ``label`` left behind: the names of all discovered classes, and the page that shows these."""

    names: tuple[str, ...]
    page: Path


def label(run: Run, device: str = "cpu") -> Labelled:
    """Write ``label.html``, and ``classes.toml`` with a line for each class to name; names that are there stay.

    Raises:
        RunError: the run has not finished, discovered no classes, or its ``classes.toml`` cannot be read.
        DataError: its images are not there any more.
    """
    found = find(run, device)
    if found.discovered is None:
        raise _no_classes(run)
    names = read_class_names(run, found.discovered.count) or ("",) * found.discovered.count
    page = run.path / "label.html"
    values = {
        "title": f"Name the classes of {run.name}",
        "version": __version__,
        "run": str(run.path),
        "split": found.name,
        "count": found.discovered.count,
        "labelled": found.split.labels is not None,
        "classes": cards(found, found.discovered, names, Gallery("label")),
    }
    write_atomic(page, render("label.html", "label.js", values))
    write_class_names(run, names)
    return Labelled(names, page)


def name_classes(run: Run, names: Mapping[int, str]) -> tuple[str, ...]:
    """Name some of a run's discovered classes; the others keep their names.

    Args:
        run: a finished run.
        names: by the class's place; ``""`` takes a name away.

    Returns:
        The names of all.

    Raises:
        RunError: the run has not finished, discovered no classes or not these, or its ``classes.toml`` cannot be read.
        InputError: a name is no text.
    """
    count = class_count(run)
    known = list(read_class_names(run, count) or ("",) * count)
    for place, name in names.items():
        if not 0 <= place < count:
            raise RunError(f"there is no class {place}; the classes of {run.name} are 0 to {count - 1}")
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise InputError(f"the name of class {place} is no text in UTF-8: {name!a}")
        known[place] = name.strip()
    write_class_names(run, known)
    return tuple(known)


def class_count(run: Run) -> int:
    """How many classes a finished run discovered.

    Raises:
        RunError: the run has not finished, or has no classifier.
    """
    count = TrainedNetwork(run, "cpu").classes
    if not count:
        raise _no_classes(run)
    return count


def _no_classes(run: Run) -> RunError:
    return RunError(f"{run.name} discovered no classes to name: its network has no classifier")
