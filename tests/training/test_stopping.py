"""A training that is asked to stop: by whom, when, and how often."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sslkit.recipe.check import load_recipe
from sslkit.runs.find import all_runs
from sslkit.runs.run import Run
from sslkit.training import fit
from sslkit.training.checkpoint.files import load_checkpoint
from sslkit.training.distributed import slurm
from sslkit.training.distributed.processes import Processes
from sslkit.training.events import Progress, Reporter
from sslkit.training.train import resume, train


def run_once(recipe: Path, runs: Path, *settings: str, reporter: Reporter | None = None) -> Run:
    return train(load_recipe(recipe, settings), runs, reporter)


def test_ctrl_c_stops_like_sigterm(tiny: Path, tmp_path: Path, stop_at) -> None:
    before = signal.getsignal(signal.SIGINT)
    run = run_once(tiny, tmp_path / "runs", reporter=stop_at([2], signal.SIGINT))
    assert run.status.state == "interrupted"
    assert load_checkpoint(run.last_checkpoint)["global_step"] == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_who_asks_during_the_first_measurement_is_heard(tiny: Path, tmp_path: Path) -> None:
    class Impatient(Reporter):
        def note(self, text: str) -> None:
            if text.startswith("before the first step"):
                os.kill(os.getpid(), signal.SIGTERM)

    run = run_once(tiny, tmp_path / "runs", reporter=Impatient())
    assert (run.status.state, run.status.step) == ("interrupted", 1)
    assert load_checkpoint(run.last_checkpoint)["global_step"] == 1


def test_a_second_ctrl_c_stops_at_once(tiny: Path, tmp_path: Path) -> None:
    class Twice(Reporter):
        def step(self, progress: Progress) -> None:
            if progress.step == 3:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_once(tiny, tmp_path / "runs", "train.checkpoint_every=2 steps", reporter=Twice())
    (run,) = all_runs(tmp_path / "runs")
    assert run.status.state == "interrupted"
    assert load_checkpoint(run.last_checkpoint)["global_step"] == 2
    assert resume(run).status.state == "finished"


@pytest.fixture
def hang_up() -> Iterator[Callable[[object], None]]:
    """Says what is done about a terminal that is closed."""
    before = signal.getsignal(signal.SIGHUP)
    yield lambda handler: signal.signal(signal.SIGHUP, handler)
    signal.signal(signal.SIGHUP, before)


def test_a_closed_terminal_stops_like_sigterm_unless_that_is_ignored(
    tiny: Path, tmp_path: Path, stop_at, hang_up: Callable[[object], None]
) -> None:
    hang_up(signal.SIG_DFL)
    run = run_once(tiny, tmp_path / "runs", reporter=stop_at([2], signal.SIGHUP))
    assert (run.status.state, load_checkpoint(run.last_checkpoint)["global_step"]) == ("interrupted", 2)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    hang_up(signal.SIG_IGN)
    assert resume(run, stop_at([5], signal.SIGHUP)).status.state == "finished"
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_job_is_requeued_whichever_process_heard_of_it(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at
) -> None:
    """Another process was told that time is over, and this one is only told to stop with it."""
    honest = Processes.collect

    def collect(self: Processes, value: object) -> list[object]:
        return [value, slurm.SIGNAL.name] if isinstance(value, str) else honest(self, value)

    monkeypatch.setattr(Processes, "collect", collect)
    asked: list[bool] = []
    monkeypatch.setattr(fit.slurm, "requeue", lambda: asked.append(True) or "requeued")
    run = run_once(tiny, tmp_path / "runs", reporter=stop_at([2]))
    assert run.status.state == "interrupted"
    assert asked == [True]
    assert resume(run).status.state == "finished"
    assert asked == [True], "what is finished needs no more time"
