"""Decide when to save a checkpoint, which checkpoint is the best, and which checkpoints to keep."""

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
    """Policy of a run's checkpoints: when to save, which checkpoint is the best, and which checkpoints to keep.

    Args:
        folder: the folder of the run's checkpoints.
        settings: the section ``[train]`` of the recipe.
        context: the ``Context`` of the training run.

    Attributes:
        epoch_loss: mean loss of the latest complete epoch.
        best_loss: lowest ``epoch_loss`` of all checkpoints.
        best_step: step of the best checkpoint; 0 before the first checkpoint.
    """

    def __init__(self, folder: Path, settings: TrainSection, context: Context) -> None:
        self.interval = CheckpointInterval(settings.checkpoint_every, context)
        self.folder, self.keep = folder, settings.keep_checkpoints
        self.verified = False
        """Whether this process has already checked that its checkpoints can be read."""
        self.epoch_loss = self.best_loss = math.inf
        self.best_step = 0

    def forget_losses(self) -> None:
        """Restart the search for the best checkpoint, because new losses are not comparable with old losses."""
        self.epoch_loss = self.best_loss = math.inf

    def save(self, trainer: pl.Trainer, step: int) -> None:
        """Save a checkpoint and remove outdated checkpoints. All processes must call this method.

        Raises:
            TrainingError: the first checkpoint that this process saves could not be loaded on resuming, because a
                component's state contains values other than tensors and plain values.
        """
        if self.epoch_loss < self.best_loss:
            self.best_loss, self.best_step = self.epoch_loss, step
        trainer.save_checkpoint(self.folder / f"step-{step}.ckpt")
        if trainer.is_global_zero:
            self._verify_first(step)
            self.prune(step)
        self.interval.restart()

    def _verify_first(self, step: int) -> None:
        """Check that the first checkpoint can be read, so that invalid state raises an error now, not on resuming."""
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

    def prune(self, step: int) -> None:
        """Update ``last.ckpt`` and ``best.ckpt`` after ``step`` was saved, and remove outdated checkpoints.

        Checkpoints of later steps are also removed: they are damaged, so they were skipped when the run was resumed.
        """
        kept = self.link(step)
        for checkpoint in list_checkpoints(self.folder):
            if checkpoint not in kept:
                checkpoint.path.unlink(missing_ok=True)

    def link(self, step: int) -> list[Checkpoint]:
        """Point the links ``last.ckpt`` and ``best.ckpt`` to valid checkpoints, and return the checkpoints to keep.

        Two checkpoints have the same step if training was repeated because the older file is damaged. The older file is
        not kept.
        """
        by_step = {checkpoint.step: checkpoint for checkpoint in sorted(list_checkpoints(self.folder), key=_written_at)}
        steps = [number for number in sorted(by_step) if number <= step]
        kept = {number: by_step[number] for number in steps if number in (*steps[-self.keep :], self.best_step)}
        for name, number in (("last.ckpt", step), ("best.ckpt", self.best_step)):
            if number in kept:
                replace_symlink(self.folder / name, kept[number].path.name)
        return list(kept.values())

    def state_dict(self) -> dict[str, Any]:
        """Return the policy's state for a checkpoint."""
        return {"epoch_loss": self.epoch_loss, "best_loss": self.best_loss, "best_step": self.best_step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the policy's state from a checkpoint."""
        self.epoch_loss, self.best_loss, self.best_step = state["epoch_loss"], state["best_loss"], state["best_step"]


class CheckpointInterval:
    """Interval between checkpoints, such as ``"500 steps"``, ``"2 epochs"``, ``"10 minutes"`` or ``"10%"``."""

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
        """Start the next interval after a checkpoint. All processes must call this method."""
        self.last_save = time.monotonic()


def _written_at(checkpoint: Checkpoint) -> int:
    return checkpoint.path.stat().st_mtime_ns
