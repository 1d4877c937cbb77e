"""Check that values can be saved as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any


def plain_value(value: object, key: str, *, finite: bool = True) -> Any:
    """Convert a value to plain types: tuples to lists, mappings to dicts, number subclasses to numbers.

    Args:
        value: value to convert.
        key: key of the value for messages, such as ``metrics['top1']``.
        finite: whether NaN and infinity raise an error.

    Raises:
        ValueError: a value has a type that JSON lacks or is not finite, or a key is not a string. The message starts
            with the key.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if finite and not math.isfinite(value):
            raise ValueError(f"{key} is {float(value)}: it must be a finite number; leave it out if it is undefined")
        return float(value)
    if isinstance(value, Mapping):
        return plain_table(value, key, lambda item, own: plain_value(item, own, finite=finite))
    if isinstance(value, (list, tuple)):
        return [plain_value(item, f"{key}[{index}]", finite=finite) for index, item in enumerate(value)]
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    raise ValueError(
        f"{key} is of type {kind}, which JSON cannot contain: convert it, for example by float(value) or value.tolist()"
    )


def plain_table(value: object, key: str, convert: Callable[[Any, str], Any]) -> dict[str, Any]:
    """Return a dict with each value of a mapping converted by ``convert(value, key of the value)``.

    Raises:
        ValueError: ``value`` is not a mapping, or a key is not a string.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{key} must be a mapping from names to values, not of type {type(value).__name__}")
    for name in value:
        if not isinstance(name, str):
            raise ValueError(f"{key} has the key {name!r} of type {type(name).__name__}: keys must be strings")
    return {str(name): convert(item, f"{key}[{str(name)!r}]") for name, item in value.items()}
