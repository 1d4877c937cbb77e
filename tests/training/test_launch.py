"""Processes that we start: they begin, stop, fail and go on as one."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from safetensors.torch import load_file

import sslkit
from sslkit.components.catalog import local_entries
from sslkit.errors import InputError, RecipeError, RunError, TrainingError
from sslkit.recipe.check import load_recipe
from sslkit.runs.find import all_runs
from sslkit.runs.metrics_file import read_history
from sslkit.runs.run import Run
from sslkit.training.checkpoint.files import newest_valid
from sslkit.training.dry_run import dry_run
from sslkit.training.events import Progress, Reporter
from sslkit.training.train import resume, train

TWO = ["train.devices=2", "train.epochs=3", "monitor.every_epochs=3"]


class KillSecondAt(Reporter):
    """Kills the second process once a step is taken, and keeps what it is told."""

    def __init__(self, step: int) -> None:
        self.at = step
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def step(self, progress: Progress) -> None:
        if progress.step == self.at:
            _, second = sorted(multiprocessing.active_children(), key=lambda process: process.name)
            second.kill()


def outcome(run: Run) -> tuple[dict[str, torch.Tensor], list[tuple[int, float, str, float]]]:
    rows = [tuple(row) for row in read_history(run.metrics) if not row.metric.startswith("time/")]
    return load_file(run.backbone) | {f"heads.{name}": value for name, value in load_file(run.heads).items()}, rows


def test_two_processes_stop_together_end_with_a_killed_one_and_resume_to_the_same_bits(
    tiny: Path, tmp_path: Path, stop_at
) -> None:
    recipe = load_recipe(tiny, TWO)
    weights, rows = outcome(train(recipe, tmp_path / "whole"))
    assert [row[0] for row in rows if row[2] == "epoch_loss"] == [5, 10, 15]
    assert [row[0] for row in rows if row[2] == "monitor/acc"] == [15]

    run = train(recipe, tmp_path / "cut", stop_at([3]))
    assert run.status.state == "interrupted"
    stopped = run.status.step
    assert 3 <= stopped < 13
    assert len(list((tmp_path / "cut" / "tiny").iterdir())) == 1

    reporter, began = KillSecondAt(stopped + 2), time.monotonic()
    with pytest.raises(TrainingError) as error:
        resume(run, reporter)
    assert str(error.value) == (
        "process 1 of 2 was killed by SIGKILL, as the system does when memory runs out, and the others were stopped; "
        "if a checkpoint was saved, `sslkit resume` goes on from it"
    )
    assert time.monotonic() - began < 60
    assert reporter.notes.count("processes: 2, each 128 images of a batch of 256") == 1
    assert run.status.state == "failed"
    assert not multiprocessing.active_children()

    text = run.recipe.read_text()
    run.recipe.write_text(text.replace("devices = 2", "devices = 1"))
    with pytest.raises(RunError) as refusal:
        resume(run)
    assert str(refusal.value) == (
        f"{run.name} cannot go on, something has changed since it was stopped:\n"
        "  processes: their number was 2, is 1\n"
        f"Change it back, or go on all the same, to other figures, with `sslkit resume {run.path} --allow processes`."
    )
    run.recipe.write_text(text)

    run = resume(run)
    assert run.status.state == "finished"
    found, found_rows = outcome(run)
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    assert found_rows == rows


class Breaks(Reporter):
    """Cannot be told from a step on."""

    def step(self, progress: Progress) -> None:
        if progress.step == 3:
            raise OSError(5, "Input/output error")


def test_who_cannot_be_told_loses_no_step(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Input/output error"):
        train(load_recipe(tiny, ["train.devices=2", "train.epochs=500", "monitor.every_epochs=0"]), tmp_path, Breaks())
    (run,) = all_runs(tmp_path)
    assert run.status.state == "interrupted"
    found, _ = newest_valid(run.checkpoints)
    assert found is not None
    assert found.step == run.status.step >= 3


def test_a_dry_run_takes_one_share_of_the_batch_through_each_process(tiny: Path, tmp_path: Path) -> None:
    alone, shared = (dry_run(load_recipe(tiny, [f"train.devices={count}"]), Reporter()) for count in (1, 2))
    assert (alone["processes"], shared["processes"]) == (1, 2)
    assert (alone["views"], shared["views"]) == ([[2, 256, 1, 8, 8]], [[2, 128, 1, 8, 8]])
    # BatchNorm sees another batch in each, and nothing else differs.
    assert shared["loss"] == pytest.approx(alone["loss"], abs=0.01)


LATE = """
import sslkit
class Late(sslkit.Loss):
    "Fails, or is not finite, in one of the processes."
    class Options(sslkit.Options):
        how: str
    api = 1
    def __init__(self, options, context):
        super().__init__(options, context)
        self.world, self.how = context.world, options.how
    def forward(self, views):
        second = views.step == 2 and self.world.rank == 1
        if second and self.how == "raise":
            raise sslkit.TrainingError("the second process has had enough")
        total = self.world.gather(views.student.features[0]).square().mean()
        return sslkit.LossOutput(total * float("inf") if second else total)
"""


@pytest.mark.parametrize(
    ("how", "message"),
    [("raise", "^the second process has had enough$"), ("infinite", r"^training diverged in step 3 .*: loss is inf; ")],
)
def test_what_goes_wrong_in_one_process_ends_the_training(
    tiny: Path, tmp_path: Path, install, how: str, message: str
) -> None:
    install("late", "[sslkit.losses]\nlate = late_loss:Late\n", late_loss=LATE)
    with pytest.raises(TrainingError, match=message):
        train(load_recipe(tiny, ["train.devices=2", "loss.use=late", f"loss.how={how}"]), tmp_path)


def test_what_goes_wrong_in_one_process_of_torchrun_ends_all_and_says_which(
    tiny: Path, tmp_path: Path, install
) -> None:
    """As torchrun starts them, but nobody stops the first process, which has to find out that the second is gone."""
    site = install("late", "[sslkit.losses]\nlate = late_loss:Late\n", late_loss=LATE)
    settings = ["--set", "train.devices=2", "--set", "loss={use = 'late', how = 'raise'}"]
    command = [sys.executable, "-m", "sslkit.cli", "train", str(tiny), *settings, "--runs", str(tmp_path / "runs")]
    shared = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(site), *sys.path]),
        "OMP_NUM_THREADS": "1",
        "TORCHELASTIC_RUN_ID": "tiny",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(find_free_network_port()),
        "WORLD_SIZE": "2",
    }
    both = [
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=shared | {"RANK": rank, "LOCAL_RANK": rank})
        for rank in ("0", "1")
    ]
    first, second = (process.communicate(timeout=120)[1] for process in both)
    assert [process.returncode for process in both] == [1, 1]
    assert first.splitlines()[-1] == (
        "error: another process ended, and this one cannot go on without it: what that one said is the cause; "
        "if a checkpoint was saved, `sslkit resume` goes on from it"
    )
    assert second == "process 1: error: the second process has had enough\n"
    (run,) = all_runs(tmp_path / "runs")
    assert run.status.state == "failed"


@pytest.fixture
def registry() -> Iterator[None]:
    yield
    local_entries.clear()


def test_components_of_this_process_that_others_cannot_import_are_refused(
    tiny: Path, tmp_path: Path, registry: None
) -> None:
    class Here(sslkit.Loss):
        api = 1

        def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
            return sslkit.LossOutput(views.student.features[0].square().mean())

    sslkit.register("here", Here)
    recipe = load_recipe(tiny, ["train.devices=2", "loss.use=here"])
    with pytest.raises(InputError) as error:
        train(recipe, tmp_path)
    assert str(error.value).startswith(
        "the component 'here' was registered by a program that other processes cannot import it from ("
    )
    assert str(error.value).endswith(
        "): put it into a module, or into a package (sslkit plugins new), or train with train.devices = 1"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["train.devices=3"],
            "tiny.toml:6: train.batch_size: 256 images cannot be shared equally by 3 processes (set it to a multiple",
        ),
        (["train.devices=0"], "train.devices: "),
        (["train.nodes=2"], "train.nodes = 2: several machines are started by torchrun or SLURM, see docs/scaling.md"),
    ],
)
def test_processes_that_cannot_be_are_refused_before_any_is_started(
    tiny: Path, tmp_path: Path, settings: list[str], message: str
) -> None:
    with pytest.raises((RecipeError, InputError)) as error:
        train(load_recipe(tiny, settings), tmp_path / "runs")
    assert message in str(error.value)
    assert not (tmp_path / "runs").exists()


def test_torchrun_must_have_started_as_many_as_the_recipe_asks_for(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError) as error:
        train(load_recipe(tiny, ["train.devices=2"]), tmp_path / "runs")
    assert str(error.value) == (
        "torchrun started 4 processes, but train.devices = 2 and train.nodes = 1 mean 2: make them agree"
    )
