"""Write checkpoint files atomically, with step and checksum in the name; read them without executing code.

``step-30-8c1d0e6f5a2b9d47.ckpt`` was saved after step 30. The 16 hexadecimal digits are the start of the SHA-256 of the
file's content. A file is renamed to this name only when its content is complete.
"""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins import TorchCheckpointIO

from sslkit.errors import RunError
from sslkit.files import open_regular_file, write_atomic
from sslkit.training.checkpoint.archive_check import find_unsafe_content
from sslkit.training.checkpoint.schema import find_schema_error

NAME = re.compile(r"step-(\d{1,18})-([0-9a-f]{16})\.ckpt")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file.

    Attributes:
        step: number of optimizer steps taken when the checkpoint was saved.
        checksum: first 16 hexadecimal digits of the SHA-256 of the file's content.
        path: the file.
    """

    step: int
    checksum: str
    path: Path

    def damage(self) -> str:
        """Return why the checkpoint cannot be used, as a clause that starts with "it", or ``""`` if it is valid."""
        try:
            with open_regular_file(self.path) as file:
                matches = hashlib.file_digest(file, "sha256").hexdigest().startswith(self.checksum)
        except OSError as error:
            return f"it cannot be read: {error.strerror or error}"
        if not matches:
            return "its content does not match the checksum in its name"
        # An untrusted file can have a correct checksum, so the content is checked, too.
        content, reason = _read(self.path)
        if not reason and content["global_step"] != self.step:
            reason = f"is of step {content['global_step']}"
        return reason and f"it {reason}"


def list_checkpoints(folder: Path) -> list[Checkpoint]:
    """Return the checkpoints of a folder, newest first, without checking their content."""
    matches = [(NAME.fullmatch(path.name), path) for path in folder.glob("step-*.ckpt")]
    checkpoints = [Checkpoint(int(match[1]), match[2], path) for match, path in matches if match]
    return sorted(checkpoints, key=lambda checkpoint: (checkpoint.step, checkpoint.checksum), reverse=True)


def newest_valid(folder: Path) -> tuple[Checkpoint | None, dict[str, str]]:
    """Return the newest valid checkpoint, and why each newer checkpoint is invalid, keyed by file name."""
    damaged: dict[str, str] = {}
    for checkpoint in list_checkpoints(folder):
        damage = checkpoint.damage()
        if not damage:
            return checkpoint, damaged
        damaged[checkpoint.path.name] = damage
    return None, damaged


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning plugin that writes checkpoints atomically and reads only tensors and plain values from them."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint to ``path`` with its checksum added to the name."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        data = buffer.getvalue()
        path = Path(path)
        # The user may have removed the folder during training.
        path.parent.mkdir(exist_ok=True)
        write_atomic(path.with_stem(f"{path.stem}-{hashlib.sha256(data).hexdigest()[:16]}"), data)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        """Read a checkpoint for Lightning, with the function ``load_checkpoint`` of this module."""
        return load_checkpoint(Path(path))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, with all tensors on the CPU.

    Raises:
        RunError: the file is missing or damaged, or contains objects other than tensors and plain values.
    """
    if not path.exists():
        raise RunError(f"there is no checkpoint {path}: the run was stopped before its first")
    content, reason = _read(path)
    if reason:
        raise RunError(f"the checkpoint {path} {reason}")
    return content


def _read(path: Path) -> tuple[dict[str, Any], str]:
    """Return a checkpoint's content and an empty string, or an empty mapping and why the file cannot be used."""
    try:
        if unsafe := find_unsafe_content(path):
            return {}, f"is refused: {unsafe}"
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        lines = str(error).strip().splitlines()
        return {}, f"cannot be read: {lines[0] if lines else type(error).__name__}"
    reason = find_schema_error(content)
    return content, reason and f"is not a complete sslkit checkpoint: {reason}"
