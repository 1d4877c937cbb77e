"""No saved step is lost if files cannot be read or written, or are deleted during training."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from equal_runs import assert_equal_runs, metric_rows
from recording_reporter import RecordingReporter

from sslkit.data.store import TensorStore
from sslkit.errors import DataError, TrainingError
from sslkit.recipe.load import load_recipe
from sslkit.runs.find import all_runs
from sslkit.runs.run import Run
from sslkit.training.checkpoint.checkpoint_files import list_checkpoints
from sslkit.training.events import LossesLogged
from sslkit.training.train import resume, train


def fail_to_write(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """Make writing to files with this name fail with an error number; on a read-only disk, deleting also fails."""
    open_, unlink = Path.open, Path.unlink

    def refuse(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    def failing_open(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if path.name.lstrip(".").startswith(name) and mode in ("wb", "a"):
            refuse(path)
        return open_(path, mode, *args, **kwargs)

    def failing_unlink(path: Path, *args: Any, **kwargs: Any) -> None:
        if number == errno.EROFS and path.name.lstrip(".").startswith(name):
            refuse(path)
        unlink(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", failing_open)
    monkeypatch.setattr(Path, "unlink", failing_unlink)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("step-10-", errno.ENOSPC),
        ("status.json", errno.EROFS),
        ("metrics.csv", errno.ENOSPC),
        ("backbone.safetensors", errno.EROFS),
    ],
)
def test_a_failed_write_loses_nothing_that_was_saved(
    stopped: Run, uninterrupted: Run, monkeypatch: pytest.MonkeyPatch, number: int, name: str
) -> None:
    list_checkpoints(stopped.checkpoints)[0].path.unlink()
    fail_to_write(monkeypatch, name, number)
    with pytest.raises(TrainingError) as error:
        resume(stopped)
    monkeypatch.undo()
    message = str(error.value)
    saved_step = 10 if name == "backbone.safetensors" else 9
    assert f"a file could not be written: {os.strerror(number)} (" in message
    assert name in message
    assert ".part" not in message
    remedy = "make room" if number == errno.ENOSPC else "fix the cause"
    assert message.endswith(f"; {remedy}, then `sslkit resume {stopped.path}` continues from step {saved_step}")
    assert_equal_runs(resume(stopped), uninterrupted)


@pytest.mark.parametrize("name", ["recipe.toml", "provenance.json", "status.json"])
def test_a_full_disk_at_the_start_of_a_training_is_reported(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, settings: Sequence[str]
) -> None:
    fail_to_write(monkeypatch, name, errno.ENOSPC)
    with pytest.raises(TrainingError) as error:
        train(load_recipe(tiny, settings), tmp_path / "runs")
    path = next((tmp_path / "runs" / "tiny").iterdir()) / name
    assert str(error.value) == (
        f"training stopped after step 0: a file could not be written: No space left on device ({path}); "
        "make room, then train it again"
    )


def test_unreadable_images_are_reported_with_the_step(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gather = TensorStore.gather

    def failing_gather(store: TensorStore, index: torch.Tensor) -> torch.Tensor:
        if list(all_runs(tmp_path / "runs")) and len(index) == 256:
            raise OSError(errno.EIO, "Input/output error", "/data/images")
        return gather(store, index)

    monkeypatch.setattr(TensorStore, "gather", failing_gather)
    # As if the images were on a disk, so that the loader reads them.
    monkeypatch.setattr("sslkit.assembly.assemble.is_resident", lambda images, device: False)
    with pytest.raises(
        DataError, match=r"images of step 1 .*: Input/output error \(/data/images\)[.;] .*`sslkit resume`"
    ):
        train(load_recipe(tiny), tmp_path / "runs")
    (run,) = all_runs(tmp_path / "runs")
    assert run.status.state == "failed"


def test_a_metrics_file_that_is_gone_before_a_resume_is_reported(stopped: Run) -> None:
    stopped.metrics.unlink()
    list_checkpoints(stopped.checkpoints)[0].path.unlink()
    reporter = RecordingReporter()
    resume(stopped, reporter)
    assert "warning: metrics.csv was deleted: the metrics up to step 9 are lost" in reporter.notes
    assert {row.step for row in metric_rows(stopped)} == {10}


def test_a_metrics_file_deleted_during_training_is_reported(
    tiny: Path, tmp_path: Path, settings: Sequence[str]
) -> None:
    def delete_metrics(event: LossesLogged) -> None:
        (run,) = all_runs(tmp_path / "runs")
        run.metrics.unlink()

    reporter = RecordingReporter(LossesLogged, delete_metrics)
    run = train(load_recipe(tiny, settings), tmp_path / "runs", reporter)
    assert run.status.state == "finished"
    assert "warning: metrics.csv was deleted during training: it is created again" in reporter.notes
    assert {row.step for row in metric_rows(run)} == {10}
