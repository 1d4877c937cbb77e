"""Checks of the runs folder and the cache folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sslkit.data.cache import cache_folder
from sslkit.diagnosis.checks import CheckResult

MIN_FREE_BYTES = 2e9
"""Free bytes below which a folder gets a warning; enough for a few checkpoints of a large network."""


def check_folders(runs: Path) -> Iterator[CheckResult]:
    """Check that the runs folder and the cache folder are writable and have free space."""
    yield _check_folder("runs", runs, "choose another folder with --runs or SSLKIT_RUNS")
    yield _check_folder("cache", cache_folder(), "choose another folder with SSLKIT_CACHE")


def _check_folder(name: str, folder: Path, advice: str) -> CheckResult:
    try:
        # A folder that does not exist will be created below its closest existing parent.
        existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
        with tempfile.TemporaryFile(dir=existing):
            pass
        free = shutil.disk_usage(existing).free
    except OSError as error:
        return CheckResult(name, "error", f"{folder} is not writable: {error.strerror or error}", advice)
    text = f"{folder}, {free / 1e9:.1f} GB free"
    if free < MIN_FREE_BYTES:
        return CheckResult(name, "warning", f"{text}: less than 2 GB", f"delete files, or {advice}")
    return CheckResult(name, "ok", text)


def check_cache_size() -> CheckResult:
    """Report the size of the cache."""
    folder = cache_folder()
    sizes = []
    try:
        if not folder.is_dir():
            return CheckResult("cached data", "ok", "none")
        for path in folder.rglob("*"):
            with suppress(OSError):  # Another process may delete files meanwhile.
                sizes.append(path.stat().st_size if path.is_file() else 0)
    except OSError as error:
        return CheckResult("cached data", "warning", f"{folder} cannot be read: {error.strerror or error}")
    return CheckResult("cached data", "ok", f"{sum(sizes) / 1e9:.2f} GB, safe to delete")
