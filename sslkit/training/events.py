"""What a training tells while it runs; the command line shows it, Python callers may ignore it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes:
        step: optimizer steps taken.
        steps: optimizer steps in all.
        epoch: epochs completed.
        epochs: epochs in all.
        images_per_second: images trained on per second since the last report.
        waiting: part of that time spent waiting for data, 0 to 1.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    images_per_second: float = 0.0
    waiting: float = 0.0


class Reporter:
    """Receives what happens; this base keeps silent."""

    def note(self, text: str) -> None:
        """Something worth knowing: a choice made, a file skipped."""

    def begin(self, progress: Progress) -> None:
        """Training starts or goes on from there."""

    def step(self, progress: Progress) -> None:
        """A step was taken."""

    def figures(self, progress: Progress, figures: Mapping[str, float]) -> None:
        """Losses of the last steps were logged."""

    def epoch(self, progress: Progress, figures: Mapping[str, float]) -> None:
        """An epoch ended and was measured."""

    def end(self, progress: Progress) -> None:
        """Training stopped or is complete."""
