"""A process that is killed while it saves loses no earlier checkpoint, and the right checkpoints are kept."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from equal_runs import assert_equal_runs
from processes.forked_cli import PROCESSES
from recording_reporter import RecordingReporter
from torch.optim.optimizer import register_optimizer_step_post_hook

import sslkit
from sslkit.errors import TrainingError
from sslkit.recipe.load import load_recipe
from sslkit.recipe.sections import TrainSection
from sslkit.runs.find import all_runs
from sslkit.runs.run import Run
from sslkit.training.checkpoint import policy
from sslkit.training.checkpoint.checkpoint_files import AtomicCheckpointIO, list_checkpoints, newest_valid
from sslkit.training.checkpoint.policy import CheckpointInterval, CheckpointPolicy
from sslkit.training.events import LossesLogged, StepEnded
from sslkit.training.train import resume, train
from sslkit_selfcls.loss import SelfClassifierLoss


def kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class HalfWrittenFile:
    """File whose process is killed in the middle of the first write."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __enter__(self) -> HalfWrittenFile:
        return self

    def __exit__(self, *args: object) -> None: ...

    def write(self, data: bytes) -> None:
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        kill_this_process()


PHASES = [
    "before the write",
    "within the write",
    "before fsync",
    "before the rename",
    "after the rename",
    "after pruning",
]


def kill_in_phase(phase: str, at: int) -> None:
    """Kill this process in one phase of writing the checkpoint of step ``at``."""
    prefix, open_, fsync, replace, prune = f".step-{at}-", Path.open, os.fsync, Path.replace, CheckpointPolicy.prune
    opened = ""

    def patched_open(path: Path, *args: Any, **kwargs: Any) -> Any:
        nonlocal opened
        opened = path.name
        if path.name.startswith(prefix) and phase == "before the write":
            kill_this_process()
        file = open_(path, *args, **kwargs)
        return HalfWrittenFile(file) if path.name.startswith(prefix) and phase == "within the write" else file

    def patched_fsync(descriptor: int) -> None:
        if opened.startswith(prefix) and phase == "before fsync":
            kill_this_process()
        fsync(descriptor)

    def patched_replace(path: Path, target: Path) -> Path:
        if path.name.startswith(prefix) and phase == "before the rename":
            kill_this_process()
        result = replace(path, target)
        if path.name.startswith(prefix) and phase == "after the rename":
            kill_this_process()
        return result

    def patched_prune(self: CheckpointPolicy, step: int) -> None:
        prune(self, step)
        if step == at and phase == "after pruning":
            kill_this_process()

    Path.open, os.fsync, Path.replace, CheckpointPolicy.prune = (  # type: ignore[assignment, method-assign]
        patched_open, patched_fsync, patched_replace, patched_prune,
    )  # fmt: skip


def train_until_killed(recipe: Path, settings: Sequence[str], runs: Path, phase: str, at: int) -> None:
    """Start a run, or resume the existing run; called in a new process."""
    torch.set_num_threads(1)
    kill_in_phase(phase, at)
    started = list(all_runs(runs))
    if started:
        resume(started[0])
    else:
        train(load_recipe(recipe, settings), runs)


def test_a_run_killed_in_every_phase_of_writing_ends_in_the_same_bits(
    uninterrupted: Run, tiny: Path, tmp_path: Path, settings: Sequence[str]
) -> None:
    # Interruptions: twice within an epoch, at the last step of an epoch, at the last step, twice at the same step.
    for phase, at in zip(PHASES, (2, 4, 5, 5, 7, 10), strict=True):
        process = PROCESSES.Process(target=train_until_killed, args=(tiny, settings, tmp_path / "runs", phase, at))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        (run,) = all_runs(tmp_path / "runs")
        assert run.status.state == "interrupted"
        saved_step = at if phase.startswith("after") else at - 1
        assert list_checkpoints(run.checkpoints)[0].step == saved_step, phase
        newest, damaged = newest_valid(run.checkpoints)
        assert (newest and newest.step, damaged) == (saved_step, {})
    assert_equal_runs(resume(run), uninterrupted)
    assert [checkpoint.step for checkpoint in list_checkpoints(run.checkpoints)] == [10, 9, 8]
    assert not list(run.checkpoints.glob(".*"))


def test_a_state_that_cannot_be_read_back_stops_the_training_at_its_first_checkpoint(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Sequence[str]
) -> None:
    monkeypatch.setattr(SelfClassifierLoss, "get_extra_state", lambda self: {"a path": Path("x")}, raising=False)
    monkeypatch.setattr(SelfClassifierLoss, "set_extra_state", lambda self, state: None, raising=False)
    with pytest.raises(
        TrainingError, match=r"no run could resume from the checkpoint of step 1: it is refused: .*path"
    ):
        train(load_recipe(tiny, settings), tmp_path / "runs")


def test_non_finite_weights_are_never_saved(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Sequence[str]
) -> None:
    """Loss and gradients of the third step are finite, but the optimizer makes a weight infinite."""
    steps: list[int] = []

    def overflow(optimizer: torch.optim.Optimizer, *_: object) -> None:
        steps.append(1)
        if len(steps) == 3:
            optimizer.param_groups[0]["params"][0].data.view(-1)[0] = float("inf")

    hook = register_optimizer_step_post_hook(overflow)
    try:
        with pytest.raises(TrainingError, match="step 3"):
            train(load_recipe(tiny, settings), tmp_path / "runs")
    finally:
        hook.remove()
    (run,) = all_runs(tmp_path / "runs")
    assert list_checkpoints(run.checkpoints)[0].step == 2


def test_a_checkpoint_folder_deleted_during_training_is_created_again(
    uninterrupted: Run, tiny: Path, tmp_path: Path, settings: Sequence[str]
) -> None:
    def delete_folder(event: LossesLogged) -> None:
        (run,) = all_runs(tmp_path / "runs")
        shutil.rmtree(run.checkpoints)

    reporter = RecordingReporter(LossesLogged, delete_folder)
    run = train(load_recipe(tiny, settings), tmp_path / "runs", reporter)
    assert_equal_runs(run, uninterrupted)
    assert [checkpoint.step for checkpoint in list_checkpoints(run.checkpoints)] == [10]


def test_the_newest_checkpoints_and_the_best_are_kept(tmp_path: Path) -> None:
    settings = TrainSection(epochs=2, batch_size=2, keep_checkpoints=2)
    saver, files = (
        CheckpointPolicy(tmp_path, settings, sslkit.Context(1, 8, (0.5,), (0.5,), 2, 5, 2)),
        AtomicCheckpointIO(),
    )
    saver.best_step = 2
    for step in range(1, 6):
        files.save_checkpoint({"step": step}, tmp_path / f"step-{step}.ckpt")
        saver.prune(step)
    assert [checkpoint.step for checkpoint in list_checkpoints(tmp_path)] == [5, 4, 2]
    for name, step in (("last", 5), ("best", 2)):
        assert (tmp_path / f"{name}.ckpt").resolve().name.startswith(f"step-{step}-")


def test_an_interval_in_minutes_starts_at_each_checkpoint(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step takes 25 seconds of the simulated clock, so a checkpoint is due at every third step."""
    steps: list[int] = []
    saved_steps: list[int] = []
    save = CheckpointPolicy.save

    def recording_save(self: CheckpointPolicy, trainer: Any, step: int) -> None:
        saved_steps.append(step)
        save(self, trainer, step)

    def record_step(event: StepEnded) -> None:
        steps.append(event.progress.step)

    monkeypatch.setattr(CheckpointPolicy, "save", recording_save)
    monkeypatch.setattr(policy.time, "monotonic", lambda: 25.0 * len(steps))
    recipe = load_recipe(tiny, ["train.checkpoint_every=1 minutes"])
    train(recipe, tmp_path / "runs", RecordingReporter(StepEnded, record_step))
    assert saved_steps == [3, 6, 9, 10]


def test_an_interval_in_minutes_restarts_in_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(policy.time, "monotonic", lambda: now)
    context = sslkit.Context(1, 8, (0.5,), (0.5,), 2, 5, 2)
    first, now = CheckpointInterval("2 minutes", context), 50.0
    second = CheckpointInterval("2 minutes", context)
    now = 125.0
    assert (first.due(7), second.due(7)) == (True, False)
    for interval in (first, second):  # if one process is due, all save
        interval.restart()
    now = 175.0
    assert not second.due(8), "it would save again right after the first"
    now = 245.0
    assert first.due(9)
