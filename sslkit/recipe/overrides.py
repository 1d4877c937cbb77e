"""``--set path=value``: changes to a recipe from the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from typing import Any

from sslkit.errors import Problem, RecipeError
from sslkit.recipe.document import COMPONENT_TABLES, Document, Origin, dotted
from sslkit.recipe.line_numbers import KeyPath
from sslkit.recipe.sections import Wiring

SHARED_KEYS = ("use", *Wiring.model_fields)
"""Keys of a component table that are not options of the component, so they remain when ``use`` changes."""


def apply_overrides(document: Document, settings: Iterable[str]) -> None:
    """Apply each ``path=value`` in order.

    A value that is not valid TOML is a string. A value that is a table replaces the whole table. A new ``use`` drops
    the options of the old component and adds a note to the document. In an array of tables, ``loss.NAME.x`` or
    ``loss.INDEX.x`` selects an element; ``loss.x`` is enough if there is only one.

    Raises:
        RecipeError: a setting has no ``=``, or a path leads through a value that is not a table.
    """
    if problems := [problem for setting in settings if (problem := _apply(document, setting))]:
        raise RecipeError(problems)


def _apply(document: Document, setting: str) -> Problem | None:
    source = f"--set {setting}"
    path, equals, text = setting.partition("=")
    parts = [part.strip() for part in path.split(".")]
    if not equals or not all(parts):
        return Problem("must be path=value, such as --set train.epochs=10", source=source)
    parent: KeyPath = ()
    table: Any = document.tables
    for position, part in enumerate(parts[:-1]):
        if isinstance(table, dict):
            parent = (*parent, part)
            if part not in table:
                table[part] = {}
                document.origins[parent] = Origin(source)
            table = table[part]
        elif isinstance(table, list) and (index := _find_element(table, part)) is not None:
            table, parent = table[index], (*parent, index)
        if isinstance(table, list) and len(table) == 1 and _find_element(table, parts[position + 1]) is None:
            table, parent = table[0], (*parent, 0)
    key = dotted(parent)
    if isinstance(table, list):
        names = ", ".join(_element_name(element, index) for index, element in enumerate(table))
        return Problem(f"there is more than one table: {names}", key, source, hint=f"name one, such as {key}.NAME")
    if not isinstance(table, dict):
        return Problem(f"{key} is {table!r}, not a table", path, source)
    _assign(document, table, (*parent, parts[-1]), _parse_value(text), source)
    return None


def _assign(document: Document, table: dict[str, Any], path: KeyPath, value: Any, source: str) -> None:
    key = str(path[-1])
    if key == "use" and path[0] in COMPONENT_TABLES and table.get("use", value) != value:
        dropped = [option for option in table if option not in SHARED_KEYS]
        if dropped:
            document.notes.append(f"{source} drops the options of {table['use']!r}: {', '.join(dropped)}")
        for option in dropped:
            del table[option]
            document.drop_origins((*path[:-1], option))
    if key in table:
        document.replaced.setdefault(path, table[key])
    table[key] = value
    document.drop_origins(path)
    document.origins[path] = Origin(source)


def _parse_value(text: str) -> Any:
    try:
        tables = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text.strip()
    return tables["value"] if tables.keys() == {"value"} else text


def _element_name(element: Any, index: int) -> str:
    return str(element.get("name", index)) if isinstance(element, dict) else str(index)


def _find_element(elements: list[Any], name: str) -> int | None:
    names = [_element_name(element, index) for index, element in enumerate(elements)]
    if name in names:
        return names.index(name)
    return int(name) if name.isdecimal() and int(name) < len(elements) else None
