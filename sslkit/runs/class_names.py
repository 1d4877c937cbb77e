"""The names that somebody gave to the classes a run discovered, ``classes.toml`` in its folder."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any

import tomli_w

from sslkit.errors import RunError
from sslkit.files import read_regular_file, write_atomic
from sslkit.recipe.locate import locate
from sslkit.runs.run import Run

FILE = "classes.toml"

HEADER = """\
# What the classes that this run discovered are called.  The same name twice makes one class of two; "" leaves a class
# without a name.
"""


def read_class_names(run: Run, clusters: int) -> tuple[str, ...] | None:
    """The name of each of a run's discovered classes, ``""`` for those without; None where nobody named any.

    Args:
        run: the run.
        clusters: how many classes its classifier has.

    Raises:
        RunError: the file is no TOML, or names what is not there, with the line.
    """
    path = run.path / FILE
    try:
        text = read_regular_file(path)
        table = tomllib.loads(text)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error
    lines = locate(text)
    for key in table:
        if key != "names":
            raise RunError(f"{path}:{lines[(key,)]}: {key!r} is not known; write names into the table [names]")
    names: Any = table.get("names", {})
    if not isinstance(names, dict):
        raise RunError(f"{path}:{lines[('names',)]}: names must be a table, [names], with a line for each class")
    for key, name in names.items():
        line = lines[("names", key)]
        if key not in map(str, range(clusters)):
            raise RunError(f"{path}:{line}: there is no class {key!r}; the run's classes are 0 to {clusters - 1}")
        if not isinstance(name, str):
            raise RunError(f'{path}:{line}: the name of class {key} must be text in quotes, such as {key} = "cat"')
    return tuple(names.get(str(place), "").strip() for place in range(clusters))


def write_class_names(run: Run, names: Sequence[str]) -> None:
    """Keep the name of each of a run's discovered classes, ``""`` for those without."""
    table = {"names": {str(place): name for place, name in enumerate(names)}}
    write_atomic(run.path / FILE, f"{HEADER}\n{tomli_w.dumps(table)}")
