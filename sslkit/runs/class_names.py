"""Read and write the names of discovered classes, stored in ``classes.toml`` of a run folder."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any

import tomli_w

from sslkit.errors import RunError
from sslkit.files import read_regular_file, write_atomic
from sslkit.recipe.line_numbers import line_numbers
from sslkit.runs.run import Run

FILE = "classes.toml"

HEADER = """\
# Names of the classes that this run discovered. Two classes with the same name are merged; "" means no name.
"""


def read_class_names(run: Run, classes: int) -> tuple[str, ...] | None:
    """Return the name of each discovered class, ``""`` for a class without a name; None if there is no file.

    Args:
        run: the run.
        classes: number of classes of the run's classifier.

    Raises:
        RunError: the file is not valid; the message gives the line.
    """
    path = run.path / FILE
    try:
        text = read_regular_file(path)
        table = tomllib.loads(text)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error
    lines = line_numbers(text)
    for key in table:
        if key != "names":
            raise RunError(f"{path}:{lines[(key,)]}: unknown key {key!r}: put the names into a table [names]")
    names: Any = table.get("names", {})
    if not isinstance(names, dict):
        raise RunError(f"{path}:{lines[('names',)]}: names must be a table [names] with one line for each class")
    for key, name in names.items():
        line = lines[("names", key)]
        if key not in map(str, range(classes)):
            raise RunError(f"{path}:{line}: there is no class {key!r}: the classes of this run are 0 to {classes - 1}")
        if not isinstance(name, str):
            raise RunError(f'{path}:{line}: the name of class {key} must be a string, such as {key} = "cat"')
    return tuple(names.get(str(index), "").strip() for index in range(classes))


def write_class_names(run: Run, names: Sequence[str]) -> None:
    """Write the name of each discovered class, ``""`` for a class without a name."""
    table = {"names": {str(index): name for index, name in enumerate(names)}}
    write_atomic(run.path / FILE, f"{HEADER}\n{tomli_w.dumps(table)}")
