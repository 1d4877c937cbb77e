"""Whether there is room, and whether it can be written to."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sslkit.data.cache import cache_folder
from sslkit.diagnosis.findings import Finding

LITTLE = 2e9
"""Bytes below which a disk counts as nearly full: a few checkpoints of a larger network."""


def folders(runs: Path) -> Iterator[Finding]:
    """The folder of all runs and the cache: room, and whether they can be written."""
    yield _folder("runs", runs, "name another with --runs or SSLKIT_RUNS")
    yield _folder("cache", cache_folder(), "name another with SSLKIT_CACHE")


def _folder(name: str, folder: Path, advice: str) -> Finding:
    # What is not there yet is made below the nearest folder that is.
    try:
        there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
        with tempfile.TemporaryFile(dir=there):
            pass
        free = shutil.disk_usage(there).free
    except OSError as error:
        return Finding(name, "broken", f"{folder} cannot be written: {error.strerror or error}", advice)
    text = f"{folder}, {free / 1e9:.1f} GB free"
    if free < LITTLE:
        return Finding(name, "note", f"{text}, which is little", f"make room, or {advice}")
    return Finding(name, "good", text)


def cached() -> Finding:
    """What the cache holds."""
    folder = cache_folder()
    sizes = []
    try:
        if not folder.is_dir():
            return Finding("cached data", "good", "none yet")
        for path in folder.rglob("*"):
            with suppress(OSError):  # another process has just removed it
                sizes.append(path.stat().st_size if path.is_file() else 0)
    except OSError as error:
        return Finding("cached data", "note", f"{folder} cannot be looked through: {error.strerror or error}")
    return Finding("cached data", "good", f"{sum(sizes) / 1e9:.2f} GB, which may be deleted at any time")
