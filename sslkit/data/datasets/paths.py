"""A folder as an option."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field


def _utf8(path: Path) -> Path:
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        raise ValueError("no recipe can hold it, its name is no UTF-8: rename the folder, or link to it") from None
    return path


FolderPath = Annotated[Path, Field(strict=False), AfterValidator(Path.expanduser), AfterValidator(_utf8)]
"""A path, written as a string in recipes; ``~`` is the home folder, relative is to the working directory."""
