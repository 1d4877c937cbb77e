"""Option type for folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field


def _require_utf8(path: Path) -> Path:
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        raise ValueError(
            "its name is not UTF-8, so a recipe cannot contain it: rename the folder, or link to it"
        ) from None
    return path


FolderPath = Annotated[Path, Field(strict=False), AfterValidator(Path.expanduser), AfterValidator(_require_utf8)]
"""Path of a folder, written as a string in recipes. ``~`` is the home folder; relative paths start at the working
directory."""
