"""Read JSON from run folders, which may be untrusted: every value is checked against a type before it is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from sslkit.errors import RunError
from sslkit.files import read_regular_file

Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(gt=0, le=10_000_000)]
"""Size of a network's input or layer; at most what any option allows."""
SizeOrNone = Annotated[int, Field(ge=0, le=10_000_000)]
"""Like ``Size``; 0 means none."""
FiniteNumber = Annotated[float, Field(allow_inf_nan=False)]
PositiveNumber = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Record = TypeVar("Record")


def read_json(path: Path) -> Any:
    """Return the parsed content of a JSON file.

    Raises:
        RunError: the file cannot be read or is not valid JSON.
    """
    try:
        return json.loads(read_regular_file(path))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def validate(record: type[Record], value: Any, path: Path) -> Record:
    """Return a parsed value as a record type.

    Raises:
        RunError: the value does not fit the type; names the file, the key and the reason.
    """
    try:
        return TypeAdapter(record).validate_python(value)
    except ValidationError as error:
        raise validation_error(path, error) from error


def validation_error(path: Path, error: ValidationError) -> RunError:
    """Return the first problem that pydantic found as a ``RunError``."""
    first = error.errors()[0]
    return invalid_record(path, ".".join(map(str, first["loc"])), first["msg"])


def invalid_record(path: Path, key: str, reason: str) -> RunError:
    """Return the error for a wrong value in a record; an empty key means the top level of the file."""
    return RunError(f"{path} is not a valid sslkit record: {key or 'top level'}: {reason}")
