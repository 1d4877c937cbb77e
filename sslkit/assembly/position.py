"""Position of a training run in epochs, which stays the same when the steps per epoch change."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Position:
    """Progress of a training run in steps and epochs.

    Resuming with a different batch size or number of images changes the steps per epoch. From then on, ``taken`` and
    ``step`` differ. Checkpoints and ``metrics.csv`` use ``taken``. Schedules, losses and the order of the images use
    ``step``.

    Attributes:
        taken: number of optimizer steps taken since the run started.
        step: trained epochs times the current ``steps_per_epoch``.
        steps_per_epoch: current number of optimizer steps in an epoch.
        epochs: number of epochs of the whole training run.
    """

    taken: int
    step: int
    steps_per_epoch: int
    epochs: int

    @property
    def epoch(self) -> float:
        """Number of trained epochs, including the fraction of the current epoch."""
        return self.step / self.steps_per_epoch

    @property
    def epoch_step(self) -> int:
        """Number of completed steps in the current epoch."""
        return self.step % self.steps_per_epoch

    @property
    def offset(self) -> int:
        """Difference ``taken - step``, to convert ``step`` to optimizer steps; 0 until the steps per epoch change."""
        return self.taken - self.step

    @property
    def steps(self) -> int:
        """Number of optimizer steps that the run will have taken when training ends."""
        return self.steps_per_epoch * self.epochs + self.offset

    def resize(self, steps_per_epoch: int, epochs: int) -> Position:
        """Return the same position in a training run of a different length.

        The number of completed epochs stays the same. The completed fraction of the current epoch is rounded to the
        nearest step, but at least one step of this epoch always remains.
        """
        complete, done = divmod(self.step, self.steps_per_epoch)
        nearest = (2 * done * steps_per_epoch + self.steps_per_epoch) // (2 * self.steps_per_epoch)
        step = complete * steps_per_epoch + min(nearest, steps_per_epoch - 1)
        return Position(self.taken, step, steps_per_epoch, epochs)

    def same_length(self, other: Position) -> bool:
        """Return whether both positions have the same number of epochs and of steps per epoch."""
        return (self.steps_per_epoch, self.epochs) == (other.steps_per_epoch, other.epochs)

    def as_record(self) -> dict[str, float]:
        """Return the position with the keys of ``status.json``; ``epoch`` includes the completed part of an epoch."""
        return {"step": self.taken, "steps": self.steps, "epoch": round(self.epoch, 6), "epochs": self.epochs}
