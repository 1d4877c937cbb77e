"""Read and write the names of discovered classes, stored in the ``classes.toml`` of a run folder."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import tomli_w

from sslkit.errors import RunError
from sslkit.files import read_regular_file, write_atomic
from sslkit.recipe.line_numbers import line_numbers
from sslkit.runs.run import Run

FILE = "classes.toml"

ADDED = re.compile(r"0|[1-9][0-9]{0,8}")
"""Pattern of the keys in the table ``[added]``, which are class numbers."""

HEADER = """\
# Names of the classes that this run discovered. Two classes with the same name are merged; "" means no name.
# [added] has the names of classes that a user added in `sslkit explore`.
"""


def read_class_names(run: Run, classes: int) -> tuple[str, ...] | None:
    """Return the name of each discovered class, ``""`` for a class without a name, or None if there is no file.

    Args:
        run: the run.
        classes: number of classes of the run's classifier.

    Raises:
        RunError: the file is not valid; the message gives the line.
    """
    tables = _read(run, classes)
    return None if tables is None else tuple(tables[0].get(index, "") for index in range(classes))


def read_added_names(run: Run, classes: int) -> dict[int, str]:
    """Return the names of the classes that a user added in ``sslkit explore``, keyed by number.

    Args:
        run: the run.
        classes: number of classes of the run's classifier; added classes have this number or a larger one.

    Raises:
        RunError: the file is not valid; the message gives the line.
    """
    tables = _read(run, classes)
    return {} if tables is None else tables[1]


def unnamed_classes(run: Run, names: Sequence[str]) -> list[str]:
    """Return one sentence about the classes without a name, or an empty list if all classes have names.

    Args:
        run: the run.
        names: name of each discovered class, ``""`` for a class without a name.
    """
    unnamed = [number for number, name in enumerate(names) if not name]
    if not unnamed:
        return []
    if len(unnamed) == len(names):
        which = "the classes have no names"
    elif len(unnamed) == 1:
        which = f"class {unnamed[0]} has no name"
    else:
        which = f"{len(unnamed)} of {len(names)} classes have no name"
    return [f"{which}: name them with `sslkit label {shlex.quote(str(run.path))}`"]


def write_class_names(run: Run, names: Sequence[str], added: Mapping[int, str] | None = None) -> None:
    """Write the name of each discovered class, ``""`` for a class without a name, and the names of added classes."""
    table = {"names": {str(index): name for index, name in enumerate(names)}}
    if added:
        table["added"] = {str(index): name for index, name in sorted(added.items())}
    write_atomic(run.path / FILE, f"{HEADER}\n{tomli_w.dumps(table)}")


def _read(run: Run, classes: int) -> tuple[dict[int, str], dict[int, str]] | None:
    """Return the names of discovered and of added classes, keyed by number, or None if there is no file."""
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
        if key not in ("names", "added"):
            raise RunError(f"{path}:{lines[(key,)]}: unknown key {key!r}: put the names into a table [names]")
    found: dict[str, dict[int, str]] = {"names": {}, "added": {}}
    for section, of_section in found.items():
        names: Any = table.get(section, {})
        if not isinstance(names, dict):
            raise RunError(
                f"{path}:{lines[(section,)]}: {section} must be a table [{section}] with one line for each class"
            )
        for key, name in names.items():
            line = lines[(section, key)]
            if section == "names" and key not in map(str, range(classes)):
                raise RunError(
                    f"{path}:{line}: there is no class {key!r}: the classes of this run are 0 to {classes - 1}"
                )
            if section == "added" and not (ADDED.fullmatch(key) and int(key) >= classes):
                raise RunError(f"{path}:{line}: {key!r} is not the number of an added class: use {classes} or more")
            if not isinstance(name, str):
                raise RunError(f'{path}:{line}: the name of class {key} must be a string, such as {key} = "cat"')
            of_section[int(key)] = name.strip()
    return found["names"], found["added"]
