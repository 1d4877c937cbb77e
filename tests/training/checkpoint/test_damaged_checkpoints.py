"""Damaged checkpoints are skipped, and the newest valid checkpoint is used."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from equal_runs import assert_equal_runs
from recording_reporter import RecordingReporter
from safetensors.torch import load_file

from sslkit.runs.run import Run
from sslkit.training.checkpoint import checkpoint_files
from sslkit.training.checkpoint.checkpoint_files import list_checkpoints, newest_valid
from sslkit.training.events import TrainingStarted
from sslkit.training.train import resume


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [truncate, flip_bit, Path.unlink])
def test_a_damaged_newest_checkpoint_is_reported_and_the_one_before_used(
    stopped: Run, uninterrupted: Run, damage: Callable[[Path], object]
) -> None:
    newest, before, _ = list_checkpoints(stopped.checkpoints)
    damage(newest.path)
    deleted = not newest.path.exists()
    reporter = RecordingReporter()
    resume(stopped, reporter)
    skipped = [note for note in reporter.notes if newest.path.name in note]
    assert not skipped if deleted else "its content does not match the checksum in its name" in skipped[0]
    assert any(f"from step {before.step}: " in note and "up to 10" in note for note in reporter.notes)
    assert_equal_runs(stopped, uninterrupted)
    assert newest_valid(stopped.checkpoints)[1] == {}
    assert [checkpoint.step for checkpoint in list_checkpoints(stopped.checkpoints)] == [10, 9, 8]


def test_a_temporarily_unreadable_checkpoint_is_kept_until_there_is_a_newer_one(
    stopped: Run, uninterrupted: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    last, newest, _ = list_checkpoints(stopped.checkpoints)
    last.path.unlink()
    open_regular_file = checkpoint_files.open_regular_file

    def failing_open(path: Path) -> Any:
        if path == newest.path:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return open_regular_file(path)

    def fail(event: TrainingStarted) -> None:
        raise RuntimeError("stopped here")

    reporter = RecordingReporter(TrainingStarted, fail)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_files, "open_regular_file", failing_open)
        with pytest.raises(RuntimeError, match="stopped here"):
            resume(stopped, reporter)
    (skipped,) = (note for note in reporter.notes if newest.path.name in note)
    assert skipped.startswith("warning: ")
    assert skipped.endswith(": it cannot be read: Input/output error")
    assert newest.path.exists()
    reporter = RecordingReporter()
    resume(stopped, reporter)
    assert any("was changed after step 9 was saved" in note for note in reporter.notes), (
        "the first resume cut the rows of step 9"
    )
    weights, expected = load_file(stopped.backbone), load_file(uninterrupted.backbone)
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
