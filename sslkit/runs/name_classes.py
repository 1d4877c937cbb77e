"""Name some of the classes that a run discovered."""

from __future__ import annotations

from collections.abc import Mapping

from sslkit.errors import InputError, RunError
from sslkit.runs.class_names import read_added_names, read_class_names, write_class_names
from sslkit.runs.run import Run
from sslkit.runs.weights_metadata import read_head_metadata


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
    head = read_head_metadata(run.heads)
    classifiers = head.get("classifiers")
    if not classifiers:
        raise RunError(f"{run.name} has no classes to name: its network has no classifier")
    count = classifiers[head["classifier"]]
    all_names = list(read_class_names(run, count) or ("",) * count)
    for number, name in names.items():
        if not 0 <= number < count:
            raise RunError(f"there is no class {number}; the classes of {run.name} are 0 to {count - 1}")
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise InputError(f"the name of class {number} is not valid UTF-8: {name!a}")
        all_names[number] = name.strip()
    write_class_names(run, all_names, read_added_names(run, count))
    return tuple(all_names)
