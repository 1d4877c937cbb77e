"""Signals that stop training: which signals, when they arrive, and how often."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from recording_reporter import RecordingReporter

from sslkit.recipe.load import load_recipe
from sslkit.runs.find import all_runs
from sslkit.runs.run import Run
from sslkit.training import fit
from sslkit.training.checkpoint.checkpoint_files import load_checkpoint
from sslkit.training.distributed import slurm
from sslkit.training.distributed.processes import Processes
from sslkit.training.events import Note, Reporter, StepEnded
from sslkit.training.train import resume, train


def train_recipe(recipe: Path, runs: Path, *settings: str, reporter: Reporter | None = None) -> Run:
    return train(load_recipe(recipe, settings), runs, reporter)


def test_ctrl_c_stops_like_sigterm(tiny: Path, tmp_path: Path, stop_at) -> None:
    handler = signal.getsignal(signal.SIGINT)
    run = train_recipe(tiny, tmp_path / "runs", reporter=stop_at([2], signal.SIGINT))
    assert run.status.state == "interrupted"
    assert load_checkpoint(run.last_checkpoint)["global_step"] == 2
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_signal_during_the_first_measurement_stops_after_the_first_step(tiny: Path, tmp_path: Path) -> None:
    def terminate(note: Note) -> None:
        if note.text.startswith("before the first step"):
            os.kill(os.getpid(), signal.SIGTERM)

    run = train_recipe(tiny, tmp_path / "runs", reporter=RecordingReporter(Note, terminate))
    assert (run.status.state, run.status.step) == ("interrupted", 1)
    assert load_checkpoint(run.last_checkpoint)["global_step"] == 1


def test_a_second_ctrl_c_stops_at_once(tiny: Path, tmp_path: Path) -> None:
    def interrupt_twice(event: StepEnded) -> None:
        if event.progress.step == 3:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    reporter = RecordingReporter(StepEnded, interrupt_twice)
    with pytest.raises(KeyboardInterrupt):
        train_recipe(tiny, tmp_path / "runs", "train.checkpoint_every=2 steps", reporter=reporter)
    (run,) = all_runs(tmp_path / "runs")
    assert run.status.state == "interrupted"
    assert load_checkpoint(run.last_checkpoint)["global_step"] == 2
    assert resume(run).status.state == "finished"


@pytest.fixture
def set_sighup_handler() -> Iterator[Callable[[object], None]]:
    previous = signal.getsignal(signal.SIGHUP)
    yield lambda handler: signal.signal(signal.SIGHUP, handler)
    signal.signal(signal.SIGHUP, previous)


def test_a_closed_terminal_stops_like_sigterm_unless_sighup_is_ignored(
    tiny: Path, tmp_path: Path, stop_at, set_sighup_handler: Callable[[object], None]
) -> None:
    set_sighup_handler(signal.SIG_DFL)
    run = train_recipe(tiny, tmp_path / "runs", reporter=stop_at([2], signal.SIGHUP))
    assert (run.status.state, load_checkpoint(run.last_checkpoint)["global_step"]) == ("interrupted", 2)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    set_sighup_handler(signal.SIG_IGN)
    assert resume(run, stop_at([5], signal.SIGHUP)).status.state == "finished"
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_job_is_requeued_if_any_process_received_the_timeout_signal(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at
) -> None:
    """A different process received the signal, and this process stops together with it."""
    gather = Processes.gather

    def gather_with_other(self: Processes, value: object) -> list[object]:
        return [value, slurm.TIMEOUT_SIGNAL.name] if isinstance(value, str) else gather(self, value)

    monkeypatch.setattr(Processes, "gather", gather_with_other)
    requeues: list[bool] = []
    monkeypatch.setattr(fit.slurm, "requeue", lambda: requeues.append(True) or "requeued")
    run = train_recipe(tiny, tmp_path / "runs", reporter=stop_at([2]))
    assert run.status.state == "interrupted"
    assert requeues == [True]
    assert resume(run).status.state == "finished"
    assert requeues == [True], "a finished run is not requeued"
