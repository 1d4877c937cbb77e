"""``--set path=value``: changes to a recipe from the command line, in the order they are given."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from typing import Any

from sslkit.errors import Problem, RecipeError
from sslkit.recipe.document import COMPONENT_TABLES, Document, Origin, dotted
from sslkit.recipe.locate import KeyPath

KEPT = ("use", "name", "weight", "head", "start_epoch")
"""Keys of a component table that stay when ``use`` changes: they speak of its place, not of the component."""


def override(document: Document, settings: Iterable[str]) -> None:
    """Apply each ``path=value`` in order.

    A value is read as TOML, and as a plain string where it is not TOML.  A table as value replaces the whole table;
    a new ``use`` drops the old component's options and notes which; ``loss.x`` reaches the only element of an array
    of tables, ``loss.NAME.x`` the element of that name.

    Raises:
        RecipeError: settings without ``=``, or paths that lead through something that is not a table; all at once.
    """
    problems = []
    for setting in settings:
        problem = _apply(document, setting)
        if problem:
            problems.append(problem)
    if problems:
        raise RecipeError(problems)


def _apply(document: Document, setting: str) -> Problem | None:
    source = f"--set {setting}"
    path, equals, text = setting.partition("=")
    parts = [part.strip() for part in path.split(".")]
    if not equals or not all(parts):
        return Problem("must be path=value, such as --set train.epochs=10", source=source)
    place: KeyPath = ()
    table: Any = document.tables
    for position, part in enumerate(parts[:-1]):
        if isinstance(table, dict):
            place = (*place, part)
            if part not in table:
                table[part] = {}
                document.origins[place] = Origin(source)
            table = table[part]
        elif isinstance(table, list) and (index := _element(table, part)) is not None:
            table, place = table[index], (*place, index)
        if isinstance(table, list) and len(table) == 1 and _element(table, parts[position + 1]) is None:
            table, place = table[0], (*place, 0)
    if isinstance(table, list):
        names = ", ".join(_name(element, index) for index, element in enumerate(table))
        return Problem(f"there are several in {dotted(place)}: {names}", dotted(place), source, hint="name one of them")
    if not isinstance(table, dict):
        return Problem(f"{dotted(place)} is {table!r}, which has no keys", path, source)
    _assign(document, table, (*place, parts[-1]), _value(text), source)
    return None


def _assign(document: Document, table: dict[str, Any], path: KeyPath, value: Any, source: str) -> None:
    key = str(path[-1])
    if key == "use" and path[0] in COMPONENT_TABLES and table.get("use", value) != value:
        dropped = [option for option in table if option not in KEPT]
        if dropped:
            document.notes.append(f"{source} drops the options of {table['use']!r}: {', '.join(dropped)}")
        for option in dropped:
            del table[option]
            document.forget((*path[:-1], option))
    table[key] = value
    document.forget(path)
    document.origins[path] = Origin(source)


def _value(text: str) -> Any:
    try:
        tables = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text.strip()
    return tables["value"] if tables.keys() == {"value"} else text


def _name(element: Any, index: int) -> str:
    return str(element.get("name", index)) if isinstance(element, dict) else str(index)


def _element(elements: list[Any], name: str) -> int | None:
    names = [_name(element, index) for index, element in enumerate(elements)]
    if name in names:
        return names.index(name)
    return int(name) if name.isdecimal() and int(name) < len(elements) else None
