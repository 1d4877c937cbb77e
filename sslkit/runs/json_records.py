"""Read JSON from run folders. Files may be untrusted, so formats and types of values are checked before use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from sslkit.errors import RunError
from sslkit.files import read_regular_file

RUN_FORMAT = 2
"""Version of the files in a run folder, stored in ``status.json`` and in the metadata of weights."""

Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(gt=0, le=10_000_000)]
"""Size of a network's input or layer, with the same upper limit as all options."""
SizeOrNone = Annotated[int, Field(ge=0, le=10_000_000)]
"""Like ``Size``, but 0 is allowed and means none."""
FiniteNumber = Annotated[float, Field(allow_inf_nan=False)]
PositiveNumber = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Record = TypeVar("Record")


def require_run_format(record: dict[str, Any], path: Path) -> None:
    """Raise an error unless a file has the format version that this version of sslkit reads.

    Args:
        record: content of ``status.json``, or metadata of a weights file.
        path: path of the run folder, or of the weights file.

    Raises:
        RunError: the format is not ``RUN_FORMAT``.
    """
    version = record.get("format", 1)
    if version != RUN_FORMAT:
        raise RunError(
            f"{path} has run format {version!r}, but this version of sslkit reads format {RUN_FORMAT}: "
            "train again, or use the sslkit version that wrote it"
        )


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
    """Convert a parsed value to a record type.

    Raises:
        RunError: the value does not fit the type; the message gives the file, the key and the reason.
    """
    try:
        return TypeAdapter(record).validate_python(value)
    except ValidationError as error:
        raise validation_error(path, error) from error


def validation_error(path: Path, error: ValidationError) -> RunError:
    """Return a ``RunError`` for the first problem that pydantic found."""
    first = error.errors()[0]
    return invalid_record(path, ".".join(map(str, first["loc"])), first["msg"])


def invalid_record(path: Path, key: str, reason: str) -> RunError:
    """Return the error for an invalid value in a record. An empty key means the top level of the file."""
    return RunError(f"{path} is not a valid sslkit record: {key or 'top level'}: {reason}")
