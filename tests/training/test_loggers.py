"""Rows of metrics.csv, shown by other tools: all of them, once each, whatever becomes of the training or the tool."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from sslkit.errors import RecipeError
from sslkit.recipe.check import load_recipe
from sslkit.reporting.history import read_history
from sslkit.runs import Run
from sslkit.training import loggers
from sslkit.training.reporter import Progress, Reporter
from sslkit.training.train import resume, train


class Stop(Reporter):
    """Stops a training like a crash, after a step."""

    def __init__(self, after: int) -> None:
        self.after = after

    def step(self, progress: Progress) -> None:
        if progress.step == self.after:
            raise RuntimeError("killed")


class Notes(Reporter):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def rows(run: Run) -> Counter[tuple[str, int, float]]:
    """What is in metrics.csv, as tools with single precision keep it."""
    import numpy

    return Counter((row.metric, row.step, float(numpy.float32(row.value))) for row in read_history(run.metrics))


def in_tensorboard(run: Run) -> Counter[tuple[str, int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found: Counter[tuple[str, int, float]] = Counter()
    for file in (run.path / "tensorboard").glob("events*"):
        events = EventAccumulator(str(file), size_guidance={"tensors": 0, "scalars": 0})
        events.Reload()
        for name in events.Tags()["scalars"]:
            found.update((name, event.step, event.value) for event in events.Scalars(name) if name != "epoch")
    return found


def test_tensorboard_shows_every_row_once_though_the_training_was_killed(tiny: Path, tmp_path: Path) -> None:
    recipe = load_recipe(tiny, ['run.loggers=["tensorboard"]', "train.checkpoint_every=2 steps"])
    with pytest.raises(RuntimeError, match="killed"):
        train(recipe, tmp_path / "runs", Stop(after=7))
    (path,) = (tmp_path / "runs" / "tiny").iterdir()
    run = Run(path)
    sent = in_tensorboard(run)
    assert {step for _, step, _ in sent} == {3, 5, 6}, "what no checkpoint had kept was not sent"
    resume(run)
    assert in_tensorboard(run) == rows(run)
    assert max(rows(run).values()) == 1

    plain = train(load_recipe(tiny, ["train.checkpoint_every=2 steps"]), tmp_path / "plain")
    assert plain.backbone.read_bytes()[-1000:] == run.backbone.read_bytes()[-1000:], "the same weights as without"


def test_a_tool_that_fails_stops_no_training_and_is_told_later(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, dict[str, float]]] = []
    tries = 0

    class Fails:
        def log_hyperparams(self, resolved: dict) -> None:
            assert resolved["run"]["seed"] == 7

        def log_metrics(self, figures: dict[str, float], step: int) -> None:
            nonlocal tries
            tries += 1
            if tries <= 2:
                raise ConnectionError("no network")
            told.append((step, figures))

        def finalize(self, status: str) -> None:
            told.append((-1, {status: 0.0}))

    monkeypatch.setitem(loggers.MAKE, "tensorboard", lambda run, known: Fails())
    notes = Notes()
    settings = ['run.loggers=["tensorboard"]', "train.checkpoint_every=3 steps"]
    run = train(load_recipe(tiny, settings), tmp_path / "runs", notes)
    assert run.status.state == "finished"
    assert [note for note in notes.notes if "logger" in note] == [
        "warning: the logger 'tensorboard' fails: ConnectionError: no network; metrics.csv has all figures, and it is "
        "tried again after the next checkpoint"
    ]
    sent = Counter((name, step) for step, figures in told[:-1] for name in figures)
    assert sent == Counter((row.metric, row.step) for row in read_history(run.metrics))
    assert told[-1] == (-1, {"success": 0.0})


def test_a_missing_package_is_said_before_anything_is_read(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(RecipeError) as error:
        train(load_recipe(tiny, ['run.loggers=["wandb", "mlflow"]']), tmp_path / "runs")
    source = '--set run.loggers=["wandb", "mlflow"]: run.loggers:'
    assert [str(problem) for problem in error.value.problems] == [
        f"{source} {name!r} needs the package {name}, which is not installed "
        f"(pip install 'sslkit[{name}]', or leave it out)"
        for name in ("wandb", "mlflow")
    ]
    assert not (tmp_path / "runs").exists()
