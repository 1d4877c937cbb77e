"""Reporter that records the notes of a training run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sslkit.training.events import Event, Note, Reporter, StepEnded


class RecordingReporter(Reporter):
    """Reporter that stores notes in ``notes`` and calls a function with events of one class.

    Args:
        event_class: class of the events for which ``reaction`` is called; None for no calls.
        reaction: function that is called with each of these events.
    """

    def __init__(self, event_class: type | None = None, reaction: Callable[[Any], object] = lambda event: None) -> None:
        self.notes: list[str] = []
        self.event_class = event_class
        self.reaction = reaction

    def on_event(self, event: Event) -> None:
        if isinstance(event, Note):
            self.notes.append(event.text)
        if self.event_class is not None and isinstance(event, self.event_class):
            self.reaction(event)


def at_step(step: int, action: Callable[[], object]) -> RecordingReporter:
    """Return a reporter that calls ``action`` after one step."""
    return RecordingReporter(StepEnded, lambda event: action() if event.progress.step == step else None)
