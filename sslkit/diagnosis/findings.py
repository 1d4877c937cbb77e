"""What ``sslkit doctor`` finds: one sentence each, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what was looked at.
        state: ``good``, ``note`` where something could be better, or ``broken``.
        text: what was found.
        advice: what to do; empty where all is well.
    """

    name: str
    state: Literal["good", "note", "broken"]
    text: str
    advice: str = ""


def diagnose(runs: Path) -> Iterator[Finding]:
    """Look at everything; the slow part, importing every plugin, comes last.

    Args:
        runs: the folder of all runs.
    """
    from sslkit.diagnosis import machine, plugins, storage

    yield from machine.versions()
    yield machine.device()
    yield machine.arithmetic()
    yield machine.threads()
    yield machine.load()
    yield from storage.folders(runs)
    yield storage.cached()
    yield from plugins.plugins()
