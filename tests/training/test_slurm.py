from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from notes import Notes

from sslkit.recipe.check import load_recipe
from sslkit.runs.run import Run
from sslkit.training.checkpoint.files import saved
from sslkit.training.distributed import slurm
from sslkit.training.events import Progress, Reporter
from sslkit.training.train import train


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A SLURM job whose ``scontrol`` writes down what it is asked for."""
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    for name, value in {"NTASKS": "1", "JOB_NAME": "train", "JOB_ID": "77", "NODEID": "0", "PROCID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SLURM_LOCALID", "0")
    monkeypatch.setenv("SLURM_NODELIST", "localhost")
    return tmp_path / "asked"


class Sends(Reporter):
    """Sends this process several signals in the middle of its first step."""

    def __init__(self, *numbers: signal.Signals) -> None:
        self.numbers = numbers

    def step(self, progress: Progress) -> None:
        for number in self.numbers if progress.step == 1 else ():
            os.kill(os.getpid(), number)


SMALL = ["backbone.width=4", "train.batch_size=700", "train.epochs=1", "monitor.every_epochs=0"]


@pytest.mark.parametrize("order", [1, -1])
def test_a_job_that_is_also_told_to_terminate_is_requeued(asked: Path, tiny: Path, tmp_path: Path, order: int) -> None:
    run = train(load_recipe(tiny, SMALL), tmp_path, Sends(*[signal.SIGUSR1, signal.SIGTERM][::order]))
    assert (run.status.state, run.status.step) == ("interrupted", 1)
    assert asked.read_text() == "requeue 77\n"


def test_a_job_requeued_before_its_first_checkpoint_begins_anew(
    asked: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at
) -> None:
    recipe = load_recipe(tiny, SMALL)
    # Of two runs that were begun in one second nobody knows which is the newer.
    lost = Run(train(recipe, tmp_path, stop_at([1])).path.rename(tmp_path / "tiny" / "20000101-000000-0000"))
    for checkpoint in saved(lost.checkpoints):
        checkpoint.path.unlink()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    told = Notes()
    run = train(recipe, tmp_path, told)
    assert run.path != lost.path
    assert run.status.state == "finished"
    assert f"this job was requeued: {lost.name} has no checkpoint to go on from, so it begins anew" in told.notes
    for checkpoint in saved(run.checkpoints):
        checkpoint.path.unlink()
    assert train(recipe, tmp_path).path == run.path, "a finished run needs none"


def test_a_job_whose_time_is_over_is_requeued_and_goes_on_with_its_run(
    asked: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at
) -> None:
    small, runs = SMALL, tmp_path
    before = signal.getsignal(signal.SIGUSR1)
    run = train(load_recipe(tiny, small), runs, stop_at([1], signal.SIGUSR1))
    assert (run.status.state, run.status.step) == ("interrupted", 1)
    assert json.loads(run.provenance.read_text())["slurm_job"] == "77"
    assert asked.read_text() == "requeue 77\n"
    assert signal.getsignal(signal.SIGUSR1) is before

    # The job begins again with the same command.
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    told = Notes()
    again = train(load_recipe(tiny, small), runs, told)
    assert again.path == run.path
    assert f"this job was requeued: it goes on with {run.name}" in told.notes
    assert again.status.state == "finished"
    assert train(load_recipe(tiny, small), runs).path == run.path
    # Another recipe of the same job, and another job, begin their own.
    text = run.recipe.read_text()
    assert slurm.begun(runs, text.replace("seed = 7", "seed = 8")) is None
    monkeypatch.setenv("SLURM_JOB_ID", "78")
    assert slurm.begun(runs, text) is None
