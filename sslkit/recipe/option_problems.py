"""Validate a recipe table against a class of options, and report problems with file and line."""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import ValidationError

from sslkit.contracts.options import Options
from sslkit.errors import Problem
from sslkit.recipe.document import Document
from sslkit.recipe.line_numbers import KeyPath

Model = TypeVar("Model", bound=Options)


def validate_table(
    model: type[Model], table: dict[str, Any], path: KeyPath, document: Document
) -> Model | list[Problem]:
    """Return the validated options of a table, or a list of all problems."""
    try:
        # In JSON mode, strict validation accepts arrays as tuples and strings as paths.
        return model.model_validate_json(json.dumps(table, default=str))
    except ValidationError as error:
        return _problems(error, model, table, path, document)


def _problems(
    error: ValidationError, model: type[Options], table: dict[str, Any], path: KeyPath, document: Document
) -> list[Problem]:
    messages: dict[KeyPath, list[str]] = {}
    hints: dict[KeyPath, str] = {}
    details = error.errors(include_url=False)
    for detail in details:
        if detail["type"] == "too_short" and any(_is_below(other["loc"], detail["loc"]) for other in details):
            continue  # The array is too short only because its items are invalid.
        key = _existing_path(table, detail["loc"])
        if detail["type"] == "extra_forbidden":
            messages[key] = ["unknown option"]
            hints[key] = suggestion(str(key[-1]), _field_names(model, key[:-1]))
        elif detail["type"] == "missing":
            messages[key] = ["is required"]
        else:
            text = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
            text = "should be a path" if detail["type"] == "path_type" else text
            messages.setdefault(key, []).append(text[:1].lower() + text[1:])
            if detail["type"] in ("string_type", "path_type") and isinstance(_value_at(table, key), (int, float)):
                hints[key] = _quoting_hint(document, (*path, *key), _value_at(table, key))
    return [
        document.problem((*path, *key), _message(table, key, texts), hints.get(key, ""))
        for key, texts in messages.items()
    ]


def _quoting_hint(document: Document, path: KeyPath, value: float) -> str:
    """Return advice on how to write ``value``, a number or a boolean, as a string in a recipe or with ``--set``."""
    source = document.problem(path, "").source
    if source.startswith("--set ") and path in document.origins:
        setting, _, text = source.removeprefix("--set ").partition("=")
        return f"to set a string, quote it: --set '{setting}=\"{text}\"'"
    return f'to set a string, quote it: {path[-1]} = "{json.dumps(value)}"'


def _is_below(location: tuple[int | str, ...], other: tuple[int | str, ...]) -> bool:
    return len(location) > len(other) and location[: len(other)] == other


def _message(table: dict[str, Any], key: KeyPath, texts: list[str]) -> str:
    message = ", or ".join(dict.fromkeys(texts))
    if message in ("unknown option", "is required") or not key:
        return message
    value = json.dumps(_value_at(table, key), default=str, ensure_ascii=False)
    return f"{message}, found {value if len(value) <= 60 else value[:57] + '...'}"


def _existing_path(table: Any, location: tuple[int | str, ...]) -> KeyPath:
    """Return the key path of the option that a pydantic error is about.

    The location in the error can also contain names of union members, which are not keys of the table.
    """
    path: KeyPath = ()
    for position, part in enumerate(location):
        if isinstance(table, dict) and part in table:
            table = table[part]
        elif isinstance(table, list) and isinstance(part, int) and part < len(table):
            table = table[part]
        elif isinstance(table, dict) and position == len(location) - 1:
            return (*path, part)
        else:
            break
        path = (*path, part)
    return path


def _value_at(table: Any, path: KeyPath) -> Any:
    for part in path:
        try:
            table = table[part]
        except (KeyError, IndexError, TypeError):
            return None
    return table


def _field_names(model: type[Options], path: KeyPath) -> list[str]:
    for part in path:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        if isinstance(annotation, type) and issubclass(annotation, Options):
            model = annotation
    return list(model.model_fields)


def suggestion(name: str, allowed: list[str]) -> str:
    """Return "did you mean ...?" for a misspelled name, or the list of allowed names."""
    close = get_close_matches(name, allowed, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"available: {', '.join(allowed)}" if allowed else "none is available"
