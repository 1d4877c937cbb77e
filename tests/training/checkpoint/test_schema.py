"""Checkpoints without a required key are skipped; additional keys are allowed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from sslkit.errors import RunError
from sslkit.recipe.load import load_recipe
from sslkit.runs.run import Run
from sslkit.training.checkpoint.checkpoint_files import (
    AtomicCheckpointIO,
    Checkpoint,
    list_checkpoints,
    load_checkpoint,
    newest_valid,
)
from sslkit.training.train import resume, train


@pytest.fixture(scope="module")
def template(tiny_recipe_text: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run of two steps with a checkpoint of each step, without weights."""
    folder = tmp_path_factory.mktemp("template")
    (folder / "tiny.toml").write_text(tiny_recipe_text)
    settings = ["backbone.width=4", "train.batch_size=700", "train.epochs=1", "monitor.every_epochs=0"]
    run = train(load_recipe(folder / "tiny.toml", [*settings, "train.checkpoint_every=1 steps"]), folder / "runs")
    run.backbone.unlink()
    return run


@pytest.fixture
def run(template: Run, tmp_path: Path) -> Run:
    """Copy of the run of two steps."""
    return Run(shutil.copytree(template.path, tmp_path / "runs" / "tiny" / "x", symlinks=True))


ABSENT = object()
"""Marks a key to be removed."""


def replace_value(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of nested values in which the value at a key path is replaced, added or removed."""
    first, *rest = path
    changed = dict(tree) if isinstance(tree, dict) else list(tree)
    if rest:
        changed[first] = replace_value(tree[first], tuple(rest), value)
    elif value is ABSENT:
        del changed[first]
    else:
        changed[first] = value
    return changed


def rewrite(checkpoint: Checkpoint, path: tuple[Any, ...], value: Any) -> Path:
    """Replace a value in a checkpoint file; return its new path, with the new checksum."""
    content = replace_value(load_checkpoint(checkpoint.path), path, value)
    folder = checkpoint.path.parent
    checkpoint.path.unlink()
    AtomicCheckpointIO().save_checkpoint(content, folder / f"step-{checkpoint.step}.ckpt")
    return next(folder.glob(f"step-{checkpoint.step}-*.ckpt"))


CALLBACK = ("callbacks", "RunCallback")
RANDOM_STATE = (*CALLBACK, "processes", 0, "random_state")

INVALID: dict[str, tuple[tuple[Any, ...], Any, str]] = {
    "no optimizer": (("optimizer_states",), [], "optimizer_states: List should have at least 1 item"),
    "two optimizers": (
        ("optimizer_states",),
        [{"state": {}, "param_groups": [{"params": []}]}] * 2,
        "optimizer_states",
    ),
    "an empty optimizer": (("optimizer_states", 0), {}, "it lacks optimizer_states.0.state, optimizer_states.0.param"),
    "an optimizer of no groups": (("optimizer_states", 0, "param_groups"), [], "optimizer_states.0.param_groups: List"),
    "no schedule": (("lr_schedulers",), [], "lr_schedulers: List should have at least 1 item"),
    "no callbacks": (("callbacks",), {}, "it lacks callbacks.RunCallback"),
    "an empty callback": (
        CALLBACK,
        {},
        "it lacks callbacks.RunCallback.loss_names, callbacks.RunCallback.metrics_file",
    ),
    "no size of the metrics file": (
        (*CALLBACK, "metrics_file_size"),
        ABSENT,
        "it lacks callbacks.RunCallback.metrics_file_size",
    ),
    "a negative size": (
        (*CALLBACK, "metrics_file_size"),
        -1,
        "callbacks.RunCallback.metrics_file_size: Input should be greater",
    ),
    "no process": ((*CALLBACK, "processes"), [], "callbacks.RunCallback.processes: List should have at least 1 item"),
    "no random state": (RANDOM_STATE, ABSENT, "it lacks callbacks.RunCallback.processes.0.random_state"),
    "an invalid random state": (
        (*RANDOM_STATE, "python"),
        [3, [1], None],
        "callbacks.RunCallback.processes.0.random_state: Value",
    ),
    "an empty policy": (
        (*CALLBACK, "checkpoint_policy"),
        {},
        "it lacks callbacks.RunCallback.checkpoint_policy.epoch_loss",
    ),
    "an empty collapse detector": (
        (*CALLBACK, "collapse_detector"),
        {},
        "callbacks.RunCallback.collapse_detector: Value error, it does not fit",
    ),
    "no loops": (("loops",), {}, "it lacks loops.fit_loop"),
    "a step before the first": (("global_step",), -7, "global_step: Input should be greater than or equal to 1"),
    "a step that is a word": (("global_step",), "2", "global_step: Input should be a valid integer"),
    "more processes": (("processes",), 2, "processes: it is 2, but there are states of 1"),
}


@pytest.mark.parametrize("name", INVALID)
def test_an_incomplete_checkpoint_is_skipped(name: str, run: Run) -> None:
    newest, before = list_checkpoints(run.checkpoints)
    assert (newest.step, before.step) == (2, 1)
    path, value, message = INVALID[name]
    rewrite(newest, path, value)
    valid, damaged = newest_valid(run.checkpoints)
    assert valid == before
    ((_, reason),) = damaged.items()
    assert reason.startswith(f"it is not a complete sslkit checkpoint: {message}")


@pytest.mark.parametrize(
    "path",
    [("of_a_newer_version",), ("loops", "of_a_newer_version"), ("loops", "fit_loop", "epoch_loop.of_a_newer_version")],
)
def test_additional_keys_do_not_prevent_a_resume(path: tuple[str, ...], run: Run) -> None:
    newest, before = list_checkpoints(run.checkpoints)
    newest.path.unlink()
    rewrite(before, path, {"layout": 2})
    assert resume(run).status.state == "finished"


def test_a_checkpoint_under_the_name_of_another_step_is_skipped(template: Run, tmp_path: Path) -> None:
    (newest, *_) = list_checkpoints(template.checkpoints)
    AtomicCheckpointIO().save_checkpoint(load_checkpoint(newest.path), tmp_path / "step-1.ckpt")
    valid, damaged = newest_valid(tmp_path)
    assert (valid, list(damaged.values())) == (None, ["it is of step 2"])


PROGRESS = ("loops", "fit_loop", "epoch_loop.manual_optimization.optim_step_progress")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("lr_schedulers",), [{}], r"its content does not fit \(KeyError\('step'\)\); .* resume from the one before"),
        (
            ("pytorch-lightning_version",),
            "?",
            r"its content does not fit \(InvalidVersion.* resume from the one before",
        ),
        (("loops", "fit_loop"), {}, "Lightning restored step 0 from a checkpoint of step 1; "),
        (PROGRESS, ABSENT, "Lightning restored step 0 from a checkpoint of step 1; "),
        ((*PROGRESS, "total", "completed"), 9, "Lightning restored step 9 from a checkpoint of"),
    ],
    ids=["schedule", "version", "loops of another layout", "no steps", "other steps"],
)
def test_a_state_that_torch_or_lightning_does_not_restore_is_refused(
    path: tuple[str, ...], value: Any, message: str, run: Run
) -> None:
    newest, before = list_checkpoints(run.checkpoints)
    newest.path.unlink()
    rewrite(before, path, value)
    with pytest.raises(RunError, match=message):
        resume(run)
    assert run.status.state == "failed"
