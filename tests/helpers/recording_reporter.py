"""Keeps the notes of a training."""

from __future__ import annotations

from sslkit.training.events import Reporter


class RecordingReporter(Reporter):
    """What it was told, in ``notes``."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)
