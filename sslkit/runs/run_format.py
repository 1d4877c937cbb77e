"""Format version of run folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sslkit.errors import RunError

RUN_FORMAT = 2
"""Version of the files in a run folder; ``status.json`` and the weights' metadata store it."""


def require_run_format(record: dict[str, Any], path: Path) -> None:
    """Refuse files that another version of sslkit wrote.

    Args:
        record: the content of ``status.json``, or the metadata of a weights file.
        path: the run folder, or the weights file.

    Raises:
        RunError: the format is not ``RUN_FORMAT``.
    """
    version = record.get("format", 1)
    if version != RUN_FORMAT:
        raise RunError(
            f"{path} has run format {version!r}, but this version of sslkit reads format {RUN_FORMAT}: "
            "train again, or use the sslkit version that wrote it"
        )
