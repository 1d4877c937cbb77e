"""Format version of run folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sslkit.errors import RunError

RUN_FORMAT = 2
"""Version of the files in a run folder, stored in ``status.json`` and in the metadata of weights."""


def require_run_format(record: dict[str, Any], path: Path) -> None:
    """Raise an error for files of a different format version.

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
