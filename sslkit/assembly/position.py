"""Position of a training in epochs, which stays the same when a resume changes the training's length."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Position:
    """How far a training is.

    A resume with another batch size or number of images changes the steps of an epoch. Two counts of steps then differ:
    ``taken``, which names checkpoints and rows of ``metrics.csv`` and only grows, and ``step``, which schedules, losses
    and the order of the images follow.

    Attributes:
        taken: optimizer steps taken since the run started.
        step: steps of the present length that the trained epochs are worth.
        steps_per_epoch: optimizer steps in an epoch of the present length.
        epochs: epochs of the whole training.
    """

    taken: int
    step: int
    steps_per_epoch: int
    epochs: int

    @property
    def epoch(self) -> float:
        """Epochs trained, with the fraction of the current one."""
        return self.step / self.steps_per_epoch

    @property
    def epoch_step(self) -> int:
        """Steps of the current epoch that are done."""
        return self.step % self.steps_per_epoch

    @property
    def offset(self) -> int:
        """Difference between the two counts of steps; it stays the same until the length changes again."""
        return self.taken - self.step

    @property
    def steps(self) -> int:
        """Optimizer steps that the run will have taken at the end of the training."""
        return self.steps_per_epoch * self.epochs + self.offset

    def resize(self, steps_per_epoch: int, epochs: int) -> Position:
        """Return the same position in a training of another length.

        The same epochs are complete. The share of the current epoch is rounded to the nearest step that does not
        complete it, so that the epoch still ends with a step of its own.
        """
        complete, done = divmod(self.step, self.steps_per_epoch)
        nearest = (2 * done * steps_per_epoch + self.steps_per_epoch) // (2 * self.steps_per_epoch)
        step = complete * steps_per_epoch + min(nearest, steps_per_epoch - 1)
        return Position(self.taken, step, steps_per_epoch, epochs)

    def same_length(self, other: Position) -> bool:
        """Return whether both trainings have as many epochs of as many steps."""
        return (self.steps_per_epoch, self.epochs) == (other.steps_per_epoch, other.epochs)

    def as_record(self) -> dict[str, float]:
        """Return the position as in ``status.json``, but with the fraction of the epoch."""
        return {"step": self.taken, "steps": self.steps, "epoch": round(self.epoch, 6), "epochs": self.epochs}
