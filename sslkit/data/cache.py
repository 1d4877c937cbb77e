"""The cache folder, whose entries are either complete or not there.

An entry is a folder that is built aside and then renamed into place.  Renaming is atomic, so no locks are needed:
of two processes that build the same entry one wins, the other drops its own and uses the winner's; what a killed
process leaves behind has another name, is never read, and is removed a day later.

The folder is ``$SSLKIT_CACHE``, else ``$XDG_CACHE_HOME/sslkit``, else ``~/.cache/sslkit``.  All of it may be
deleted at any time.
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

ASIDE = ".building-"
STALE_AFTER = 24 * 3600.0


def cache_folder() -> Path:
    """Where caches and downloads are kept; not necessarily there yet."""
    if own := os.environ.get("SSLKIT_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "sslkit"


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn a failure to write into a ``DataError`` that says where and what to do."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"the cache {folder} cannot be written: {error.strerror or error}. "
            "Free some space there, or set SSLKIT_CACHE to a folder that can be written and has room."
        ) from error


def need_space(folder: Path, needed: int) -> None:
    """Refuse early what would not fit.

    Raises:
        DataError: the disk of ``folder``, which exists, has less than ``needed`` bytes free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(
            f"the cache {folder} needs {needed / 1e9:.2f} GB, but its disk has {free / 1e9:.2f} GB free. "
            "Free some space there, set SSLKIT_CACHE to a folder with room, or choose a smaller size."
        )


def entry(folder: Path, name: str, build: Callable[[Path], None]) -> Path:
    """The entry ``folder/name``; where it is not there yet, ``build`` fills an empty folder that becomes it.

    Raises:
        DataError: the cache cannot be written.
    """
    final = folder / name
    if final.is_dir():
        return final
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _remove_stale(folder)
        aside = folder / f"{ASIDE}{uuid4().hex}"
        aside.mkdir()
        try:
            build(aside)
            _publish(aside, final)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return final


def write_file(path: Path, text: str) -> None:
    """Write a small file such that readers see all of it or nothing.

    Raises:
        DataError: the cache cannot be written.
    """
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path.parent)
        aside = path.parent / f"{ASIDE}{uuid4().hex}"
        try:
            aside.write_text(text, encoding="utf-8")
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def _publish(aside: Path, final: Path) -> None:
    try:
        aside.rename(final)
    except OSError:
        if not final.is_dir():
            raise


def _remove_stale(folder: Path) -> None:
    for aside in folder.glob(f"{ASIDE}*"):
        try:
            newest = max(path.stat().st_mtime for path in (aside, *aside.glob("*")))
        except FileNotFoundError:  # its owner has just finished
            continue
        if time.time() - newest > STALE_AFTER:
            with suppress(OSError):
                aside.unlink() if aside.is_file() else shutil.rmtree(aside)
