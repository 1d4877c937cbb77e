"""Reasons why methods failed, each in one line."""

from __future__ import annotations

import re
import traceback
from contextlib import suppress
from pathlib import Path

from sslkit.errors import RecipeError, SslkitError
from sslkit.files import write_atomic


def describe_failure(error: Exception) -> str:
    """Return the reason for a failure in one line."""
    if isinstance(error, RecipeError):
        return "; ".join(map(str, error.problems))
    text = str(error) if isinstance(error, SslkitError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())


def failure_reason(error: Exception, folder: Path, method: str) -> str:
    """Return the reason for a failure in one line.

    For an unexpected exception, also write its traceback to a file in ``folder``; the reason then contains the path.
    """
    reason = describe_failure(error)
    if isinstance(error, SslkitError):
        return reason
    path = folder / f"error-{re.sub(r'[^A-Za-z0-9_-]+', '-', method)}.txt"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(path, "".join(traceback.format_exception(error)))
    return f"{reason} (traceback in {path})"
