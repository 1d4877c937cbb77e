"""Validates one table of a recipe against its options, with located problems instead of pydantic's errors."""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import ValidationError

from sslkit.contracts.options import Options
from sslkit.errors import Problem
from sslkit.recipe.document import Document
from sslkit.recipe.locate import KeyPath

Model = TypeVar("Model", bound=Options)


def validate(model: type[Model], table: dict[str, Any], path: KeyPath, document: Document) -> Model | list[Problem]:
    """The options that a table gives, or everything that is wrong with it."""
    try:
        # JSON is the mode in which strict validation still takes arrays for tuples and strings for paths.
        return model.model_validate_json(json.dumps(table, default=str))
    except ValidationError as error:
        return _problems(error, model, table, path, document)


def _problems(
    error: ValidationError, model: type[Options], table: dict[str, Any], path: KeyPath, document: Document
) -> list[Problem]:
    messages: dict[KeyPath, list[str]] = {}
    hints: dict[KeyPath, str] = {}
    found = error.errors(include_url=False)
    for item in found:
        if item["type"] == "too_short" and any(_below(other["loc"], item["loc"]) for other in found):
            continue  # only because the items it would have are wrong themselves
        place = _inside(table, item["loc"])
        if item["type"] == "extra_forbidden":
            messages[place] = ["unknown option"]
            hints[place] = suggestion(str(place[-1]), _fields(model, place[:-1]))
        elif item["type"] == "missing":
            messages[place] = ["is required"]
        else:
            text = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
            messages.setdefault(place, []).append(text[:1].lower() + text[1:])
    return [
        document.problem((*path, *place), _found(table, place, texts), hints.get(place, ""))
        for place, texts in messages.items()
    ]


def _below(location: tuple[int | str, ...], other: tuple[int | str, ...]) -> bool:
    return len(location) > len(other) and location[: len(other)] == other


def _found(table: dict[str, Any], place: KeyPath, texts: list[str]) -> str:
    message = ", or ".join(dict.fromkeys(texts))
    if message in ("unknown option", "is required") or not place:
        return message
    value = _at(table, place)
    return f"{message}, found {_shown(value)}"


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _inside(table: Any, location: tuple[int | str, ...]) -> KeyPath:
    """The part of pydantic's location that exists in the table; a union adds the names of its members."""
    place: KeyPath = ()
    for position, part in enumerate(location):
        if isinstance(table, dict) and part in table:
            table = table[part]
        elif isinstance(table, list) and isinstance(part, int) and part < len(table):
            table = table[part]
        elif isinstance(table, dict) and position == len(location) - 1:
            return (*place, part)
        else:
            break
        place = (*place, part)
    return place


def _at(table: Any, place: KeyPath) -> Any:
    for part in place:
        try:
            table = table[part]
        except (KeyError, IndexError, TypeError):
            return None
    return table


def _fields(model: type[Options], inside: KeyPath) -> list[str]:
    for part in inside:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        if isinstance(annotation, type) and issubclass(annotation, Options):
            model = annotation
    return list(model.model_fields)


def suggestion(found: str, allowed: list[str]) -> str:
    """A did-you-mean, or the list of what is allowed."""
    close = get_close_matches(found, allowed, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are {', '.join(allowed)}" if allowed else "there are none"
