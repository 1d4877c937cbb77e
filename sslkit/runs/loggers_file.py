"""Read ``loggers.json``: how many rows of ``metrics.csv`` each logger has received."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NotRequired

from typing_extensions import TypedDict

from sslkit.runs.json_records import Count, read_json, validate


class _LoggerProgress(TypedDict):
    rows: Count
    step: Count
    id: NotRequired[str]


def read_logger_progress(path: Path) -> dict[str, dict[str, Any]]:
    """Return, for each logger's name, what the logger has received.

    Each value is a dictionary with the keys ``rows``, the number of rows of ``metrics.csv``; ``step``, the step of the
    last of these rows; and, for MLflow only, ``id``, the id of the MLflow run.

    Raises:
        RunError: the file cannot be read or is invalid.
    """
    progress = validate(dict[str, _LoggerProgress], read_json(path), path)
    return {name: dict(received) for name, received in progress.items()}
