"""Events of a training, and the reporter that receives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes:
        step: optimizer steps taken.
        steps: optimizer steps at the end of the training.
        epoch: epochs completed.
        epochs: epochs in total.
        steps_per_epoch: optimizer steps in an epoch. The epochs before a resume with another batch size or number of
            images had other numbers of steps.
        images_per_second: throughput since the last report.
        data_wait: share of that time spent waiting for data, in [0, 1].
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    steps_per_epoch: int
    images_per_second: float = 0.0
    data_wait: float = 0.0


@dataclass(frozen=True)
class Note:
    """A message for the user, for example a choice that was made or a file that was skipped."""

    text: str


@dataclass(frozen=True)
class TrainingStarted:
    """Training starts, or continues from ``progress``."""

    progress: Progress


@dataclass(frozen=True)
class StepEnded:
    """An optimizer step was taken."""

    progress: Progress


@dataclass(frozen=True)
class LossesLogged:
    """The mean losses since the last report were written to ``metrics.csv``."""

    progress: Progress
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class EpochEnded:
    """An epoch ended; ``metrics`` has its mean loss and the validation metrics that were due."""

    progress: Progress
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class TrainingEnded:
    """Training is complete, was interrupted or failed."""

    progress: Progress


Event = Note | TrainingStarted | StepEnded | LossesLogged | EpochEnded | TrainingEnded


class Reporter:
    """Receiver of a training's events; this base class ignores them."""

    def on_event(self, event: Event) -> None:
        """Handle one event."""

    def note(self, text: str) -> None:
        """Send a ``Note``."""
        self.on_event(Note(text))
