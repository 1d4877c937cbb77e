"""SLURM jobs are requeued, and a requeued job continues its run."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from recording_reporter import RecordingReporter

from sslkit.recipe.load import load_recipe
from sslkit.runs.run import Run
from sslkit.training.checkpoint.checkpoint_files import list_checkpoints
from sslkit.training.distributed import slurm
from sslkit.training.events import StepEnded
from sslkit.training.train import train

SETTINGS = ["backbone.width=4", "train.batch_size=700", "train.epochs=1", "monitor.every_epochs=0"]


@pytest.fixture
def scontrol_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make this process a SLURM job; return the file in which its ``scontrol`` logs its arguments."""
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/scontrol.log\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    for name, value in {"NTASKS": "1", "JOB_NAME": "train", "JOB_ID": "77", "NODEID": "0", "PROCID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SLURM_LOCALID", "0")
    monkeypatch.setenv("SLURM_NODELIST", "localhost")
    return tmp_path / "scontrol.log"


@pytest.mark.parametrize("signals", [[signal.SIGUSR1, signal.SIGTERM], [signal.SIGTERM, signal.SIGUSR1]])
def test_a_job_that_also_receives_sigterm_is_requeued(
    scontrol_log: Path, tiny: Path, tmp_path: Path, signals: list[signal.Signals]
) -> None:
    def send(event: StepEnded) -> None:
        for number in signals if event.progress.step == 1 else ():
            os.kill(os.getpid(), number)

    run = train(load_recipe(tiny, SETTINGS), tmp_path, RecordingReporter(StepEnded, send))
    assert (run.status.state, run.status.step) == ("interrupted", 1)
    assert scontrol_log.read_text() == "requeue 77\n"


def test_a_job_requeued_before_its_first_checkpoint_starts_a_new_run(
    scontrol_log: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at
) -> None:
    recipe = load_recipe(tiny, SETTINGS)
    # Rename the run, because the order of two runs that start within a second is unknown.
    lost = Run(train(recipe, tmp_path, stop_at([1])).path.rename(tmp_path / "tiny" / "20000101-000000-0000"))
    for checkpoint in list_checkpoints(lost.checkpoints):
        checkpoint.path.unlink()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    reporter = RecordingReporter()
    run = train(recipe, tmp_path, reporter)
    assert run.path != lost.path
    assert run.status.state == "finished"
    assert any(f"requeued: {lost.name} has no checkpoint" in note for note in reporter.notes)
    for checkpoint in list_checkpoints(run.checkpoints):
        checkpoint.path.unlink()
    assert train(recipe, tmp_path).path == run.path, "a finished run needs no checkpoint"


def test_a_job_at_its_time_limit_is_requeued_and_continues_its_run(
    scontrol_log: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at
) -> None:
    recipe, runs = load_recipe(tiny, SETTINGS), tmp_path
    handler = signal.getsignal(signal.SIGUSR1)
    run = train(recipe, runs, stop_at([1], signal.SIGUSR1))
    assert (run.status.state, run.status.step) == ("interrupted", 1)
    assert json.loads(run.provenance.read_text())["slurm_job"] == "77"
    assert scontrol_log.read_text() == "requeue 77\n"
    assert signal.getsignal(signal.SIGUSR1) is handler

    # SLURM starts the job again with the same command.
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    reporter = RecordingReporter()
    continued = train(recipe, runs, reporter)
    assert continued.path == run.path
    assert any("requeued: " in note and run.name in note for note in reporter.notes)
    assert continued.status.state == "finished"
    assert train(recipe, runs).path == run.path
    # A different recipe in the same job, and a different job, start new runs.
    text = run.recipe.read_text()
    assert slurm.requeued_run(runs, text.replace("seed = 7", "seed = 8")) is None
    monkeypatch.setenv("SLURM_JOB_ID", "78")
    assert slurm.requeued_run(runs, text) is None
