"""Checkpoints: files that are either whole or not there, named for what they hold, read without executing anything.

``step-30-8c1d0e6f5a2b9d47.ckpt`` was saved after step 30, and its content has the SHA-256 that begins so.  Name and
content become visible in one renaming: no moment exists at which a checkpoint is there and its checksum is not.
"""

from __future__ import annotations

import hashlib
import io
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import TorchCheckpointIO

from sslkit.errors import RunError, TrainingError
from sslkit.files import open_regular_file, point, write_atomic
from sslkit.training.checkpoint.archive_check import find_unsafe_content
from sslkit.training.checkpoint.schema import wrong

NAME = re.compile(r"step-(\d{1,18})-([0-9a-f]{16})\.ckpt")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's file.

    Attributes:
        step: optimizer steps taken when it was saved.
        checksum: beginning of its content's SHA-256, hexadecimal.
        path: the file.
    """

    step: int
    checksum: str
    path: Path

    def damage(self) -> str:
        """Why it cannot be used; empty where its content is what was written."""
        try:
            with open_regular_file(self.path) as file:
                whole = hashlib.file_digest(file, "sha256").hexdigest().startswith(self.checksum)
        except OSError as error:
            return f"it cannot be read: {error.strerror or error}"
        if not whole:
            return "its content is not what was written, by the checksum in its name"
        # Anybody can give a file the checksum of what is in it.
        found, reason = _read(self.path)
        if not reason and found["global_step"] != self.step:
            reason = f"is of step {found['global_step']}"
        return reason and f"it {reason}"


def saved(folder: Path) -> list[Checkpoint]:
    """Every checkpoint of a folder, newest first; whether they are whole is not looked at."""
    found = [(NAME.fullmatch(path.name), path) for path in folder.glob("step-*.ckpt")]
    checkpoints = [Checkpoint(int(match[1]), match[2], path) for match, path in found if match]
    return sorted(checkpoints, key=lambda checkpoint: (checkpoint.step, checkpoint.checksum), reverse=True)


def newest_valid(folder: Path) -> tuple[Checkpoint | None, dict[str, str]]:
    """The newest checkpoint that is as it was written, and those newer than it: by name, what is wrong with them."""
    damaged: dict[str, str] = {}
    for checkpoint in saved(folder):
        damage = checkpoint.damage()
        if not damage:
            return checkpoint, damaged
        damaged[checkpoint.path.name] = damage
    return None, damaged


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, never half-written and never unpickled beyond plain tensors and values."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint to ``path``, whose name is given the checksum."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        data = buffer.getvalue()
        path = Path(path)
        # A folder that somebody removed meanwhile loses no step: what is trained is still in memory.
        path.parent.mkdir(exist_ok=True)
        write_atomic(path.with_stem(f"{path.stem}-{hashlib.sha256(data).hexdigest()[:16]}"), data)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        """Read a checkpoint; see the function of this name."""
        return load_checkpoint(Path(path))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU, tensors and plain values only.

    Raises:
        RunError: the file is missing, damaged, or holds anything else.
    """
    if not path.exists():
        raise RunError(f"there is no checkpoint {path}: the run was stopped before its first")
    found, reason = _read(path)
    if reason:
        raise RunError(f"the checkpoint {path} {reason}")
    return found


def _read(path: Path) -> tuple[dict[str, Any], str]:
    """What a checkpoint holds, and why it cannot be used; empty where it can."""
    try:
        strange = find_unsafe_content(path)
        if strange:
            return {}, f"is refused: {strange}"
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        said = str(error).strip().splitlines()
        return {}, f"cannot be read: {said[0] if said else type(error).__name__}"
    reason = wrong(found)
    return found, reason and f"is none of sslkit's: {reason}"


class CheckpointInterval:
    """Tells when a checkpoint is due: ``"500 steps"``, ``"2 epochs"`` or ``"10 minutes"``."""

    def __init__(self, text: str, steps_per_epoch: int) -> None:
        count, _, unit = text.partition(" ")
        self.minutes = int(count) if unit == "minutes" else 0
        self.steps = {"steps": int(count), "epochs": int(count) * steps_per_epoch}.get(unit, 0)
        self.last = time.monotonic()

    def due(self, step: int) -> bool:
        """Whether to save after that many steps."""
        if self.steps:
            return step % self.steps == 0
        return time.monotonic() - self.last >= 60 * self.minutes

    def saved(self) -> None:
        """Begin to count the minutes anew, in every process: their clocks differ, and all save when one is due."""
        self.last = time.monotonic()


class CheckpointSaver:
    """Saves the newest checkpoints and the best one; the links ``last.ckpt`` and ``best.ckpt`` point at them.

    Args:
        folder: where checkpoints go.
        keep: how many of the newest are kept.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep
        self.tried = False
        """Whether one of this process's checkpoints was read again."""

    def save(self, trainer: pl.Trainer, step: int, best: int) -> None:
        """Write the state after ``step`` and drop what is not kept; ``best`` is the step of the best checkpoint.

        Raises:
            TrainingError: the first one that is written cannot be read again, because of what a component keeps.
        """
        trainer.save_checkpoint(self.folder / f"step-{step}.ckpt")
        if trainer.is_global_zero:
            self._try(step)
            self.settle(step, best)

    def _try(self, step: int) -> None:
        """Read the first checkpoint again: better to fail now than after days, when somebody wants to go on from it."""
        if self.tried:
            return
        self.tried = True
        written = max(self.folder.glob(f"step-{step}-*.ckpt"), key=lambda path: path.stat().st_mtime_ns)
        reason = _read(written)[1]
        if reason:
            raise TrainingError(
                f"no run could go on from the checkpoint of step {step}: it {reason}; what a component keeps "
                "(state_dict, get_extra_state, an optimizer's groups, a schedule) must be tensors and plain values"
            )

    def settle(self, step: int, best: int) -> None:
        """After ``step`` was saved: point the links, and remove what is not kept.

        Checkpoints after ``step`` are those that a resume could not read: they go only now, when there is a newer whole
        one.
        """
        kept = self.link(step, best)
        for checkpoint in saved(self.folder):
            if checkpoint not in kept:
                checkpoint.path.unlink(missing_ok=True)

    def link(self, step: int, best: int) -> list[Checkpoint]:
        """Point the links; returns the checkpoints to keep.

        Of two of one step, which differ where one is damaged, that is the one written last.
        """
        newest: dict[int, Checkpoint] = {}
        for checkpoint in sorted(saved(self.folder), key=lambda item: item.path.stat().st_mtime_ns):
            newest[checkpoint.step] = checkpoint
        until = [number for number in sorted(newest) if number <= step]
        kept = {number: newest[number] for number in until if number in (*until[-self.keep :], best)}
        for name, number in (("last.ckpt", step), ("best.ckpt", best)):
            if number in kept:
                point(self.folder / name, kept[number].path.name)
        return list(kept.values())
