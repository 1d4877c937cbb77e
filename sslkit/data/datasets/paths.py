"""A folder as an option."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

FolderPath = Annotated[Path, Field(strict=False), AfterValidator(Path.expanduser)]
"""A path, written as a string in recipes; ``~`` is the home folder, relative is to the working directory."""
