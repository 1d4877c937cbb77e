"""Read the metadata in the header of a weights file. The module does not import torch, which takes seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from sslkit.errors import RunError
from sslkit.files import open_regular_file
from sslkit.runs.json_records import require_run_format
from sslkit.runs.run import Run

KEY = "sslkit"
"""Key of the JSON metadata in the safetensors header."""


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the metadata of a weights file.

    Raises:
        RunError: the file is missing or damaged, or has a different format version.
    """
    try:
        open_regular_file(path).close()
        with safe_open(path, framework="np") as file:
            metadata: dict[str, Any] = json.loads(file.metadata()[KEY])
        if not isinstance(metadata, dict):
            raise TypeError("its metadata are not a JSON object")
    except FileNotFoundError:
        run = Run(path.parent)
        reason = f": {run.describe_state()}" if (run.path / "status.json").exists() else ""
        raise RunError(f"{path} does not exist{reason}") from None
    except (OSError, SafetensorError, TypeError, KeyError, ValueError, RecursionError) as error:
        raise RunError(f"the weights {path} cannot be read: {error}") from error
    require_run_format(metadata, path)
    return metadata
