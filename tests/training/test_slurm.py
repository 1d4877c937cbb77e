from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from sslkit.recipe.check import load_recipe
from sslkit.training import slurm
from sslkit.training.reporter import Reporter
from sslkit.training.train import train


class Notes(Reporter):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


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


def test_a_job_whose_time_is_over_is_requeued_and_goes_on_with_its_run(
    asked: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at
) -> None:
    small, runs = ["backbone.width=4", "train.batch_size=700", "train.epochs=1", "monitor.every_epochs=0"], tmp_path
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
