"""Cache folder whose entries are always complete.

An entry is a folder. A process builds the entry under a temporary name and then renames it. Renaming is atomic, so no
locks are needed: if two processes build the same entry, the second process discards its copy and uses the entry of the
first. Temporary folders of killed processes are never read, and are removed a day later.

The cache folder is ``$SSLKIT_CACHE``, else ``$XDG_CACHE_HOME/sslkit``, else ``~/.cache/sslkit``. Users may delete the
cache folder at any time.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from sslkit.errors import DataError

CACHE_VARIABLE = "SSLKIT_CACHE"
"""Environment variable that sets the cache folder."""

TEMPORARY_PREFIX = ".building-"

STALE_SECONDS = 24 * 3600.0
"""Time in seconds after which unchanged temporary files and folders are removed."""


def cache_folder() -> Path:
    """Return the folder of caches and downloads; it may not exist yet."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "sslkit"


@contextmanager
def explain_write_errors(folder: Path) -> Iterator[None]:
    """Convert an ``OSError`` in the ``with`` block to a ``DataError`` that names the folder and the remedy."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"the cache {folder} cannot be written: {error.strerror or error}. "
            "Free some space there, or set SSLKIT_CACHE to a writable folder with enough space."
        ) from error


def require_free_space(folder: Path, needed: int) -> None:
    """Check that the disk of an existing folder has ``needed`` free bytes.

    Raises:
        DataError: the disk has fewer than ``needed`` free bytes.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(
            f"the cache {folder} needs {needed / 1e9:.2f} GB, but its disk has {free / 1e9:.2f} GB free. "
            "Free some space there, set SSLKIT_CACHE to a folder with enough space, or choose a smaller size."
        )


def get_or_build(folder: Path, name: str, build: Callable[[Path], None]) -> Path:
    """Return the path of the entry ``folder/name``; build the entry first if it does not exist.

    ``build`` receives an empty temporary folder and fills it.

    Raises:
        DataError: the cache cannot be written.
    """
    entry = folder / name
    if entry.is_dir():
        return entry
    with explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _remove_stale(folder)
        temporary = _temporary_path(folder)
        temporary.mkdir()
        try:
            build(temporary)
            _publish(temporary, entry)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return entry


def write_file(path: Path, text: str) -> None:
    """Write a small text file to the cache atomically.

    Raises:
        DataError: the cache cannot be written.
    """
    with explain_write_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path.parent)
        temporary = _temporary_path(path.parent)
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _temporary_path(folder: Path) -> Path:
    return folder / f"{TEMPORARY_PREFIX}{uuid4().hex}"


def _publish(temporary: Path, entry: Path) -> None:
    try:
        temporary.rename(entry)
    except OSError:
        if not entry.is_dir():
            raise


def _remove_stale(folder: Path) -> None:
    for temporary in folder.glob(f"{TEMPORARY_PREFIX}*"):
        try:
            newest = max(path.stat().st_mtime for path in (temporary, *temporary.glob("*")))
        except FileNotFoundError:  # the process that wrote the folder has just finished
            continue
        if time.time() - newest > STALE_SECONDS:
            with suppress(OSError):
                temporary.unlink() if temporary.is_file() else shutil.rmtree(temporary)
