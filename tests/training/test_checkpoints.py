"""Checkpoints that are cut off, changed, lost, or killed while they are written lose no step that was saved before."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bits import assert_same, rows
from notes import Notes
from safetensors.torch import load_file
from torch.optim.optimizer import register_optimizer_step_post_hook
from warm import PROCESSES

from sslkit.data.store import TensorStore
from sslkit.errors import DataError, TrainingError
from sslkit.recipe.check import load_recipe
from sslkit.runs.find import all_runs
from sslkit.runs.run import Run
from sslkit.training.checkpoint import files as checkpoints
from sslkit.training.checkpoint.files import (
    AtomicCheckpointIO,
    CheckpointInterval,
    CheckpointSaver,
    newest_valid,
    saved,
)
from sslkit.training.events import Progress, Reporter
from sslkit.training.train import resume, train
from sslkit_selfcls.loss import SelfClassifierLoss

SMALL = ["backbone.width=4", "loss.queue_size=512", "train.checkpoint_every=1 steps", "train.keep_checkpoints=3"]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class HalfWritten:
    """A file whose first write is cut short by the death of the process."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __enter__(self) -> HalfWritten:
        return self

    def __exit__(self, *args: object) -> None: ...

    def write(self, data: bytes) -> None:
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        die()


def killed_at(phase: str, at: int) -> None:
    """Let this process die in one phase of writing the checkpoint of step ``at``."""
    marker, open_, fsync, replace = f".step-{at}-", Path.open, os.fsync, Path.replace
    now: list[str] = []

    def opened(path: Path, *args: Any, **kwargs: Any) -> Any:
        now[:] = [path.name]
        if path.name.startswith(marker) and phase == "before the write":
            die()
        file = open_(path, *args, **kwargs)
        return HalfWritten(file) if path.name.startswith(marker) and phase == "in its middle" else file

    def synced(descriptor: int) -> None:
        if now and now[0].startswith(marker) and phase == "before fsync":
            die()
        fsync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        if path.name.startswith(marker) and phase == "before the renaming":
            die()
        found = replace(path, target)
        if path.name.startswith(marker) and phase == "after the renaming":
            die()
        return found

    def settled(saver: CheckpointSaver, step: int, best: int) -> None:
        honest(saver, step, best)
        if step == at and phase == "after all":
            die()

    honest = CheckpointSaver.settle
    Path.open, os.fsync, Path.replace, CheckpointSaver.settle = opened, synced, renamed, settled  # type: ignore[assignment, method-assign]


PHASES = ["before the write", "in its middle", "before fsync", "before the renaming", "after the renaming", "after all"]


def go(recipe: Path, runs: Path, phase: str, at: int) -> None:
    """In a process of its own: begin, or go on, until death."""
    torch.set_num_threads(1)
    killed_at(phase, at)
    found = list(all_runs(runs))
    if found:
        resume(found[0])
    else:
        train(load_recipe(recipe, SMALL), runs)


@pytest.fixture(scope="module")
def dies() -> Callable[..., None]:
    """Run ``go`` in a process of its own, and see it killed."""

    def run(*arguments: object) -> None:
        process = PROCESSES.Process(target=go, args=arguments)
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL

    return run


@pytest.fixture(scope="module")
def calm(tiny_text: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nothing happened to."""
    folder = tmp_path_factory.mktemp("calm")
    (folder / "tiny.toml").write_text(tiny_text)
    return train(load_recipe(folder / "tiny.toml", SMALL), folder / "runs")


@pytest.fixture
def stopped(calm: Run, tmp_path: Path) -> Run:
    """A copy of it that was stopped at its end, before its weights were written."""
    run = Run(tmp_path / "runs" / "tiny" / calm.path.name)
    shutil.copytree(calm.path, run.path, symlinks=True)
    run.backbone.unlink()
    run.write_status("interrupted", 10, 10, 2, 2)
    return run


def test_killed_in_every_phase_of_writing_a_run_ends_in_the_same_bits(
    calm: Run, tiny: Path, tmp_path: Path, dies: Callable[..., None]
) -> None:
    # Twice within an epoch, on an epoch's last step, on the run's last, and twice in the same place.
    for phase, at in zip(PHASES, (2, 4, 5, 5, 7, 10), strict=True):
        dies(tiny, tmp_path / "runs", phase, at)
        (run,) = all_runs(tmp_path / "runs")
        assert run.status.state == "interrupted"
        reached = at if phase.startswith("after") else at - 1
        assert saved(run.checkpoints)[0].step == reached, phase
        found, damaged = newest_valid(run.checkpoints)
        assert (found and found.step, damaged) == (reached, {})
    assert_same(resume(run), calm)
    assert [item.step for item in saved(run.checkpoints)] == [10, 9, 8]
    assert not list(run.checkpoints.glob(".*"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [cut, flip, Path.unlink])
def test_what_happened_to_the_newest_checkpoint_is_said_and_the_one_before_used(
    stopped: Run, calm: Run, harm: Callable[[Path], object]
) -> None:
    newest, before, _ = saved(stopped.checkpoints)
    harm(newest.path)
    lost = not newest.path.exists()
    told = Notes()
    resume(stopped, told)
    passed = (
        f"warning: the checkpoint {newest.path.name} is passed over: "
        "its content is not what was written, by the checksum in its name"
    )
    assert (passed in told.notes) is not lost
    assert f"goes on from step {before.step}: what was done since, up to step 10, is done again" in told.notes
    assert_same(stopped, calm)
    assert newest_valid(stopped.checkpoints)[1] == {}
    assert [item.step for item in saved(stopped.checkpoints)] == [10, 9, 8]


def test_a_checkpoint_that_could_not_be_read_for_a_moment_is_kept_until_there_is_a_newer_one(
    stopped: Run, calm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    last, newest, _ = saved(stopped.checkpoints)
    last.path.unlink()
    honest = checkpoints.open_regular_file

    def ails(path: Path) -> Any:
        if path == newest.path:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return honest(path)

    class Killed(Notes):
        def begin(self, progress: Progress) -> None:
            raise RuntimeError("killed")

    told = Killed()
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "open_regular_file", ails)
        with pytest.raises(RuntimeError, match="killed"):
            resume(stopped, told)
    passed = f"warning: the checkpoint {newest.path.name} is passed over: it cannot be read: Input/output error"
    assert passed in told.notes
    assert newest.path.exists()
    told = Notes()
    resume(stopped, told)
    assert any("was changed since step 9 was saved" in note for note in told.notes), (
        "its rows went with the first resume"
    )
    ended, expected = load_file(stopped.backbone), load_file(calm.backbone)
    assert ended.keys() == expected.keys()
    assert all(torch.equal(ended[name], expected[name]) for name in expected)


def test_a_state_that_could_not_be_read_again_stops_the_training_at_its_first_checkpoint(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SelfClassifierLoss, "get_extra_state", lambda self: {"a path": Path("x")}, raising=False)
    monkeypatch.setattr(SelfClassifierLoss, "set_extra_state", lambda self, state: None, raising=False)
    with pytest.raises(TrainingError, match=r"no run could go on from the checkpoint of step 1: it is refused: .*path"):
        train(load_recipe(tiny, SMALL), tmp_path / "runs")


def test_minutes_are_counted_from_each_checkpoint_on(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step takes 25 seconds by this clock: the third and then every third is a minute after the one before."""
    steps: list[int] = []
    kept: list[int] = []

    class Clock(Reporter):
        def step(self, progress: Progress) -> None:
            steps.append(progress.step)

    honest = CheckpointSaver.save

    def save(self: CheckpointSaver, trainer: Any, step: int, best: int) -> None:
        kept.append(step)
        honest(self, trainer, step, best)

    monkeypatch.setattr(CheckpointSaver, "save", save)
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: 25.0 * len(steps))
    train(load_recipe(tiny, ["train.checkpoint_every=1 minutes"]), tmp_path / "runs", Clock())
    assert kept == [3, 6, 9, 10]


def test_weights_that_are_not_finite_are_never_saved(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loss and gradients of the third step are finite, what the optimizer makes of them is not."""
    taken: list[int] = []

    def overflow(optimizer: torch.optim.Optimizer, *_: object) -> None:
        taken.append(1)
        if len(taken) == 3:
            optimizer.param_groups[0]["params"][0].data.view(-1)[0] = float("inf")

    before = register_optimizer_step_post_hook(overflow)
    try:
        with pytest.raises(TrainingError, match="step 3"):
            train(load_recipe(tiny, SMALL), tmp_path / "runs")
    finally:
        before.remove()
    (run,) = all_runs(tmp_path / "runs")
    assert saved(run.checkpoints)[0].step == 2


def test_a_history_that_is_gone_is_said(stopped: Run) -> None:
    stopped.metrics.unlink()
    saved(stopped.checkpoints)[0].path.unlink()
    told = Notes()
    resume(stopped, told)
    assert "warning: metrics.csv is gone, and with it the figures up to step 9" in told.notes
    assert {row.step for row in rows(stopped)} == {10}


def test_a_history_that_is_removed_while_training_is_said(tiny: Path, tmp_path: Path) -> None:
    class Vandal(Notes):
        def figures(self, *args: Any) -> None:
            (run,) = all_runs(tmp_path / "runs")
            run.metrics.unlink()

    told = Vandal()
    run = train(load_recipe(tiny, SMALL), tmp_path / "runs", told)
    assert run.status.state == "finished"
    assert "warning: metrics.csv was removed while training: it begins anew" in told.notes
    assert {row.step for row in rows(run)} == {10}


def fail_at(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """Let files of that name not be written; on a read-only disk nothing can be removed either."""
    honest, remove = Path.open, Path.unlink

    def refuse(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    def failing(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if path.name.lstrip(".").startswith(name) and mode in ("wb", "a"):
            refuse(path)
        return honest(path, mode, *args, **kwargs)

    def unlink(path: Path, *args: Any, **kwargs: Any) -> None:
        if number == errno.EROFS and path.name.lstrip(".").startswith(name):
            refuse(path)
        remove(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", failing)
    monkeypatch.setattr(Path, "unlink", unlink)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("step-10-", errno.ENOSPC),
        ("status.json", errno.EROFS),
        ("metrics.csv", errno.ENOSPC),
        ("backbone.safetensors", errno.EROFS),
    ],
)
def test_a_disk_that_fails_at_any_file_loses_nothing_that_was_saved(
    stopped: Run, calm: Run, monkeypatch: pytest.MonkeyPatch, number: int, name: str
) -> None:
    saved(stopped.checkpoints)[0].path.unlink()
    fail_at(monkeypatch, name, number)
    with pytest.raises(TrainingError) as error:
        resume(stopped)
    monkeypatch.undo()
    kept = 10 if name in ("backbone.safetensors",) else 9
    assert f"a file could not be written: {os.strerror(number)} (" in str(error.value)
    assert name in str(error.value)
    assert ".part" not in str(error.value)
    remedy = "make room" if number == errno.ENOSPC else "see to that"
    assert str(error.value).endswith(f"; {remedy}, then `sslkit resume {stopped.path}` goes on from step {kept}")
    assert_same(resume(stopped), calm)


@pytest.mark.parametrize("name", ["recipe.toml", "provenance.json", "status.json"])
def test_a_disk_that_is_full_when_a_training_begins_is_said(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fail_at(monkeypatch, name, errno.ENOSPC)
    with pytest.raises(TrainingError) as error:
        train(load_recipe(tiny, SMALL), tmp_path / "runs")
    path = next((tmp_path / "runs" / "tiny").iterdir()) / name
    assert str(error.value) == (
        f"training stopped after step 0, a file could not be written: No space left on device ({path}); "
        "make room, then train it again"
    )


def test_images_that_cannot_be_read_are_said_as_such(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = TensorStore.gather

    def failing(store: TensorStore, index: torch.Tensor) -> torch.Tensor:
        if list(all_runs(tmp_path / "runs")) and len(index) == 256:
            raise OSError(errno.EIO, "Input/output error", "/data/images")
        return honest(store, index)

    monkeypatch.setattr(TensorStore, "gather", failing)
    with pytest.raises(DataError) as error:
        train(load_recipe(tiny), tmp_path / "runs")
    assert str(error.value) == (
        "the images of step 1 cannot be read: Input/output error (/data/images); "
        "once they can, `sslkit resume` goes on from the last checkpoint"
    )
    (run,) = all_runs(tmp_path / "runs")
    assert run.status.state == "failed"


def test_a_checkpoint_folder_that_vanishes_while_training_is_made_again(calm: Run, tiny: Path, tmp_path: Path) -> None:
    class Vandal(Reporter):
        def figures(self, *args: Any) -> None:
            (run,) = all_runs(tmp_path / "runs")
            shutil.rmtree(run.checkpoints)

    run = train(load_recipe(tiny, SMALL), tmp_path / "runs", Vandal())
    assert_same(run, calm)
    assert [item.step for item in saved(run.checkpoints)] == [10]


def test_the_newest_are_kept_and_the_best_besides(tmp_path: Path) -> None:
    saver, files = CheckpointSaver(tmp_path, keep=2), AtomicCheckpointIO()
    for step in range(1, 6):
        files.save_checkpoint({"step": step}, tmp_path / f"step-{step}.ckpt")
        saver.settle(step, best=2)
    assert [item.step for item in saved(tmp_path)] == [5, 4, 2]
    for name, step in (("last", 5), ("best", 2)):
        assert (tmp_path / f"{name}.ckpt").resolve().name.startswith(f"step-{step}-")


def test_minutes_are_counted_anew_wherever_a_checkpoint_was_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    monkeypatch.setattr("sslkit.training.checkpoint.files.time.monotonic", lambda: clock)
    first, clock = CheckpointInterval("2 minutes", 5), 50.0
    second = CheckpointInterval("2 minutes", 5)
    clock = 125.0
    assert (first.due(7), second.due(7)) == (True, False)
    for each in (first, second):  # one is due, all save
        each.saved()
    clock = 175.0
    assert not second.due(8), "it would save again right after the first"
    clock = 245.0
    assert first.due(9)
