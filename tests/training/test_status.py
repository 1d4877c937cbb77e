"""The step in ``status.json`` during training."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from recording_reporter import RecordingReporter

from sslkit.recipe.load import load_recipe
from sslkit.runs.find import find_run
from sslkit.runs.run import Run
from sslkit.training import status
from sslkit.training.events import LossesLogged
from sslkit.training.train import train


def test_status_has_the_last_logged_step(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "LIVE_SECONDS", 0.0)
    written = []

    def read(event: LossesLogged) -> None:
        now = find_run(None, tmp_path).status
        written.append((event.progress.step, now.step, now.epoch, now.state))

    train(load_recipe(tiny, ["train.checkpoint_every=100%"]), tmp_path, RecordingReporter(LossesLogged, read))
    assert written == [(step, step, step // 5, "running") for step in (3, 6, 9, 10)]


def test_status_is_not_written_again_at_once(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    write = Run.write_status
    monkeypatch.setattr(status, "LIVE_SECONDS", 1e9)
    monkeypatch.setattr(
        Run, "write_status", lambda run, state, step, *rest: (steps.append(step), write(run, state, step, *rest))
    )
    train(load_recipe(tiny, ["train.checkpoint_every=5 steps"]), tmp_path)
    assert steps == [0, 0, 5, 10, 10]


def test_live_status_that_cannot_be_written_does_not_stop(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "LIVE_SECONDS", 0.0)
    write = Run.write_status

    def fail(run: Run, state: str, step: int, *rest: int) -> None:
        if step in (3, 6, 9):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(run, state, step, *rest)

    monkeypatch.setattr(Run, "write_status", fail)
    assert train(load_recipe(tiny), tmp_path).status.state == "finished"
