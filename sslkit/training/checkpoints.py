"""Checkpoints: written aside and renamed, with every random state, read back without executing anything."""

from __future__ import annotations

import io
import random
import shutil
import time
from pathlib import Path
from typing import Any

import numpy
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import TorchCheckpointIO

from sslkit.errors import RunError
from sslkit.files import write_aside


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, never half-written and never unpickled beyond plain tensors and values."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_aside(Path(path), buffer.getvalue())

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        return load_checkpoint(Path(path))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU, tensors and plain values only.

    Raises:
        RunError: the file is missing, damaged, or holds anything else.
    """
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise RunError(f"there is no checkpoint {path}: the run was stopped before its first") from None
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RunError(f"the checkpoint {path} cannot be read: {reason}") from error
    return checkpoint


def random_state() -> dict[str, Any]:
    """Every global random state of this process, as tensors and plain values."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = numpy.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": [version, list(words), gauss],
        "numpy": [
            str(name),
            torch.from_numpy(numpy.asarray(keys).astype(numpy.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Put back what ``random_state`` took."""
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    numpy.random.set_state((name, keys.numpy().astype(numpy.uint32), position, has_gauss, cached))


class Interval:
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
        if time.monotonic() - self.last < 60 * self.minutes:
            return False
        self.last = time.monotonic()
        return True


class Saver:
    """Saves ``last.ckpt``, and ``best.ckpt`` when the training loss of an epoch is the lowest so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, trainer: pl.Trainer, *, best: bool) -> None:
        """Write the state after the current step."""
        last = self.folder / "last.ckpt"
        trainer.save_checkpoint(last)
        if best and trainer.is_global_zero:
            aside = self.folder / ".best.ckpt.part"
            shutil.copyfile(last, aside)
            aside.replace(self.folder / "best.ckpt")
