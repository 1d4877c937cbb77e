"""Progress events of a training run, and the reporter that receives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Progress of a training run.

    Attributes:
        step: number of optimizer steps taken.
        steps: number of optimizer steps at the end of training.
        epoch: number of completed epochs.
        epochs: number of epochs of the training run.
        steps_per_epoch: current number of optimizer steps in an epoch. If a resumed run has a different
            batch size or number of images, its earlier epochs had a different number of steps.
        images_per_second: throughput in the latest measured interval.
        data_wait: fraction of this interval spent waiting for data, in [0, 1].
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
    """Event: a message for the user, for example about a skipped file."""

    text: str


@dataclass(frozen=True)
class TrainingStarted:
    """Event: training starts or resumes; ``progress`` is the position of training."""

    progress: Progress


@dataclass(frozen=True)
class StepEnded:
    """Event: an optimizer step was taken."""

    progress: Progress


@dataclass(frozen=True)
class LossesLogged:
    """Event: mean losses since the previous logged step were written to ``metrics.csv``; ``metrics`` contains them."""

    progress: Progress
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class EpochEnded:
    """Event: an epoch ended; ``metrics`` contains its mean loss and, if measured, validation metrics."""

    progress: Progress
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class TrainingEnded:
    """Event: training has finished, was interrupted or failed."""

    progress: Progress


@dataclass(frozen=True)
class FeaturesComputed:
    """Event: some of the features of a frozen backbone were computed.

    Attributes:
        images: number of images whose features have been computed.
        total: total number of images.
    """

    images: int
    total: int


Event = Note | FeaturesComputed | TrainingStarted | StepEnded | LossesLogged | EpochEnded | TrainingEnded


class Reporter:
    """Receiver of progress events. This base class ignores all events."""

    def on_event(self, event: Event) -> None:
        """Handle one event."""

    def note(self, text: str) -> None:
        """Pass a ``Note`` event with this text to ``on_event``."""
        self.on_event(Note(text))
