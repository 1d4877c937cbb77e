"""Hide messages of Pillow and libtiff from the user's terminal."""

from __future__ import annotations

import ctypes
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import PIL


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Hide warnings and log messages about unusual image files. sslkit's own messages report unreadable files."""
    _silence_libtiff()
    logger = logging.getLogger("PIL")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(level)


@cache
def _silence_libtiff() -> None:
    """Switch off the messages that the libtiff in Pillow's wheels writes to standard error."""
    package = Path(PIL.__file__).parent
    for folder in (package.parent / "pillow.libs", package / ".dylibs"):
        for library in folder.glob("libtiff*"):
            with suppress(OSError, AttributeError):
                ctypes.CDLL(str(library)).TIFFSetErrorHandler(None)
