"""When a training saves a checkpoint, which checkpoint is the best, and which ones are kept."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from sslkit.contracts.context import Context
from sslkit.contracts.duration import duration_steps, parse_duration
from sslkit.errors import TrainingError
from sslkit.files import replace_symlink
from sslkit.recipe.sections import TrainSection
from sslkit.training.checkpoint.checkpoint_files import Checkpoint, list_checkpoints


class CheckpointPolicy:
    """Rules for saving: at which steps, which checkpoint is the best, and how many of the newest to keep.

    Args:
        folder: the folder of the run's checkpoints.
        settings: the recipe's section ``train``.
        context: runtime facts of the training.

    Attributes:
        epoch_loss: mean loss of the last complete epoch.
        best_loss: lowest ``epoch_loss`` at the time of a checkpoint.
        best_step: step of that checkpoint; 0 before the first checkpoint.
    """

    def __init__(self, folder: Path, settings: TrainSection, context: Context) -> None:
        self.interval = CheckpointInterval(settings.checkpoint_every, context)
        self.saver = CheckpointSaver(folder, settings.keep_checkpoints)
        self.epoch_loss = self.best_loss = math.inf
        self.best_step = 0

    def forget_losses(self) -> None:
        """Restart the comparison of losses; needed when the set of summed losses changes."""
        self.epoch_loss = self.best_loss = math.inf

    def save(self, trainer: pl.Trainer, step: int) -> None:
        """Save a checkpoint, in every process, and remove those that are no longer kept."""
        if self.epoch_loss < self.best_loss:
            self.best_loss, self.best_step = self.epoch_loss, step
        self.saver.save(trainer, step, self.best_step)
        self.interval.restart()

    def link(self, step: int) -> None:
        """Point ``last.ckpt`` at the checkpoint of ``step``, which a run resumes from."""
        self.saver.link(step, self.best_step)

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"epoch_loss": self.epoch_loss, "best_loss": self.best_loss, "best_step": self.best_step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        self.epoch_loss, self.best_loss, self.best_step = state["epoch_loss"], state["best_loss"], state["best_step"]


class CheckpointInterval:
    """Interval between checkpoints: ``"500 steps"``, ``"2 epochs"``, ``"10 minutes"`` or ``"10%"``."""

    def __init__(self, text: str, context: Context) -> None:
        count, unit = parse_duration(text)
        self.minutes = int(count) if unit == "minutes" else 0
        self.steps = 0 if unit == "minutes" else max(1, duration_steps(text, context))
        self.offset = 0 if unit == "steps" else context.step_offset
        self.last_save = time.monotonic()

    def due(self, step: int) -> bool:
        """Return whether a checkpoint is due after ``step`` steps."""
        if self.steps:
            return (step - self.offset) % self.steps == 0
        return time.monotonic() - self.last_save >= 60 * self.minutes

    def restart(self) -> None:
        """Restart the clock, in every process: clocks differ, and all processes save when one of them is due."""
        self.last_save = time.monotonic()


class CheckpointSaver:
    """Writer that keeps the newest checkpoints and the best one, with links ``last.ckpt`` and ``best.ckpt``.

    Args:
        folder: the folder of the checkpoints.
        keep: number of newest checkpoints to keep.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep
        self.verified = False
        """Whether this process has read back one of its checkpoints."""

    def save(self, trainer: pl.Trainer, step: int, best_step: int) -> None:
        """Write the state after ``step`` and remove checkpoints that are no longer kept.

        Raises:
            TrainingError: the first checkpoint cannot be read back because of a component's state.
        """
        trainer.save_checkpoint(self.folder / f"step-{step}.ckpt")
        if trainer.is_global_zero:
            self._verify_first(step)
            self.prune(step, best_step)

    def _verify_first(self, step: int) -> None:
        """Read the first checkpoint back: a state that cannot be resumed must fail now, not after days."""
        if self.verified:
            return
        self.verified = True
        written = max(
            (checkpoint for checkpoint in list_checkpoints(self.folder) if checkpoint.step == step), key=_written_at
        )
        if damage := written.damage():
            raise TrainingError(
                f"no run could resume from the checkpoint of step {step}: {damage}; a component's state "
                "(state_dict, get_extra_state, optimizer groups, schedule) must be tensors and plain values"
            )

    def prune(self, step: int, best_step: int) -> None:
        """Update the links after ``step`` was saved, and remove checkpoints that are not kept.

        Checkpoints after ``step`` are damaged ones that a resume skipped; they are removed only now that a newer valid
        one exists.
        """
        kept = self.link(step, best_step)
        for checkpoint in list_checkpoints(self.folder):
            if checkpoint not in kept:
                checkpoint.path.unlink(missing_ok=True)

    def link(self, step: int, best_step: int) -> list[Checkpoint]:
        """Update the links and return the checkpoints to keep.

        If two checkpoints have the same step (one is damaged), the one written last counts.
        """
        by_step = {checkpoint.step: checkpoint for checkpoint in sorted(list_checkpoints(self.folder), key=_written_at)}
        steps = [number for number in sorted(by_step) if number <= step]
        kept = {number: by_step[number] for number in steps if number in (*steps[-self.keep :], best_step)}
        for name, number in (("last.ckpt", step), ("best.ckpt", best_step)):
            if number in kept:
                replace_symlink(self.folder / name, kept[number].path.name)
        return list(kept.values())


def _written_at(checkpoint: Checkpoint) -> int:
    return checkpoint.path.stat().st_mtime_ns
