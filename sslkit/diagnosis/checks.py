"""The checks of ``sslkit doctor`` and their results."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class CheckResult:
    """Result of a check.

    Attributes:
        name: name of the check.
        status: ``ok``, ``info`` (an optional part is not installed), ``warning`` (works, but could be better) or
            ``error``.
        text: what the check found.
        advice: recommended action, or ``""`` if there is nothing to do.
    """

    name: str
    status: Literal["ok", "info", "warning", "error"]
    text: str
    advice: str = ""


def run_checks(runs: Path) -> Iterator[CheckResult]:
    """Run all checks. The final check is the slowest, because it imports all plugins.

    Args:
        runs: the folder of all runs.
    """
    from sslkit.diagnosis import machine, plugins, storage

    yield from machine.check_versions()
    yield machine.check_device()
    yield machine.check_precision()
    yield machine.check_threads()
    yield machine.check_load()
    yield from storage.check_folders(runs)
    yield storage.check_cache_size()
    yield from plugins.check_plugins()
