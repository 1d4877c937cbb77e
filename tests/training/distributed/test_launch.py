"""Processes that sslkit launches start, stop, fail and resume together."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from equal_runs import metric_rows
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from processes.forked_cli import start_sslkit
from recording_reporter import RecordingReporter
from safetensors.torch import load_file

import sslkit
from sslkit.components.catalog import registered_components
from sslkit.errors import InputError, RecipeError, RunError, TrainingError
from sslkit.recipe.load import load_recipe
from sslkit.runs.find import all_runs
from sslkit.runs.run import Run
from sslkit.training.checkpoint.checkpoint_files import newest_valid
from sslkit.training.dry_run import dry_run
from sslkit.training.events import Reporter, StepEnded
from sslkit.training.train import resume, train

SETTINGS = ["train.devices=2", "train.epochs=3", "monitor.every_epochs=3"]


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.backbone) | {f"heads.{name}": value for name, value in load_file(run.heads).items()}


def kill_second_process_at(step: int) -> RecordingReporter:
    def kill(event: StepEnded) -> None:
        if event.progress.step == step:
            _, second = sorted(
                multiprocessing.active_children(), key=lambda process: int(process.name.rpartition("-")[2])
            )
            second.kill()

    return RecordingReporter(StepEnded, kill)


def test_two_processes_stop_together_end_with_a_killed_one_and_resume_to_the_same_bits(
    tiny: Path, tmp_path: Path, stop_at
) -> None:
    recipe = load_recipe(tiny, SETTINGS)
    uninterrupted = train(recipe, tmp_path / "uninterrupted")
    rows = metric_rows(uninterrupted)
    assert [row.step for row in rows if row.metric == "epoch_loss"] == [5, 10, 15]
    assert [row.step for row in rows if row.metric == "monitor/acc"] == [15]

    run = train(recipe, tmp_path / "stopped", stop_at([3]))
    assert run.status.state == "interrupted"
    stopped_at = run.status.step
    assert 3 <= stopped_at < 13
    assert len(list((tmp_path / "stopped" / "tiny").iterdir())) == 1

    reporter = kill_second_process_at(stopped_at + 2)
    with pytest.raises(TrainingError) as error:
        resume(run, reporter)
    assert str(error.value) == (
        "process 1 of 2 was killed by SIGKILL, as the system does when memory runs out, and the others were stopped; "
        "if a checkpoint was saved, `sslkit resume` continues from it"
    )
    assert reporter.notes.count("processes: 2, each 128 images of a batch of 256") == 1
    assert run.status.state == "failed"
    assert not multiprocessing.active_children()

    text = run.recipe.read_text()
    run.recipe.write_text(text.replace("devices = 2", "devices = 1"))
    with pytest.raises(RunError) as refusal:
        resume(run)
    assert str(refusal.value) == (
        f"{run.name} cannot be resumed, because this has changed since it was stopped:\n"
        "  processes: count was 2, is 1\n"
        f"Change it back, or accept other results with `sslkit resume {run.path} --allow processes`."
    )
    run.recipe.write_text(text)

    run = resume(run)
    assert run.status.state == "finished"
    resumed, expected = weights(run), weights(uninterrupted)
    assert resumed.keys() == expected.keys()
    assert all(torch.equal(resumed[name], expected[name]) for name in expected)
    assert metric_rows(run) == rows


def test_a_failing_reporter_loses_no_step(tiny: Path, tmp_path: Path) -> None:
    def fail(event: StepEnded) -> None:
        if event.progress.step == 3:
            raise OSError(5, "Input/output error")

    recipe = load_recipe(tiny, ["train.devices=2", "train.epochs=500", "monitor.every_epochs=0"])
    with pytest.raises(OSError, match="Input/output error"):
        train(recipe, tmp_path, RecordingReporter(StepEnded, fail))
    (run,) = all_runs(tmp_path)
    assert run.status.state == "interrupted"
    newest, _ = newest_valid(run.checkpoints)
    assert newest is not None
    assert newest.step == run.status.step >= 3


def test_a_dry_run_takes_one_share_of_the_batch_through_each_process(tiny: Path, tmp_path: Path) -> None:
    one, two = (dry_run(load_recipe(tiny, [f"train.devices={count}"]), Reporter()) for count in (1, 2))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert (one["views"], two["views"]) == ([[2, 256, 1, 8, 8]], [[2, 128, 1, 8, 8]])
    # Only BatchNorm differs, because each process has different images.
    assert two["loss"] == pytest.approx(one["loss"], abs=0.01)


FAILING_LOSS = """
import sslkit
class Failing(sslkit.Loss):
    "Raises, or is not finite, in the second process at the third step."
    class Options(sslkit.Options):
        how: str
    api = 2
    def __init__(self, options, context):
        super().__init__(options, context)
        self.world, self.how = context.world, options.how
    def forward(self, views):
        fails = views.step == 2 and self.world.rank == 1
        if fails and self.how == "raise":
            raise sslkit.TrainingError("the loss of the second process failed")
        total = self.world.gather(views.student.features[0]).square().mean()
        return sslkit.LossOutput(total * float("inf") if fails else total)
"""


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raise", "^the loss of the second process failed$"),
        ("infinite", r"^training diverged in step 3 .*: loss is inf; "),
    ],
)
def test_a_failure_in_one_process_ends_the_training(
    tiny: Path, tmp_path: Path, install, how: str, message: str
) -> None:
    install("failing", "[sslkit.losses]\nfailing = failing_loss:Failing\n", failing_loss=FAILING_LOSS)
    with pytest.raises(TrainingError, match=message):
        train(load_recipe(tiny, ["train.devices=2", "loss.use=failing", f"loss.how={how}"]), tmp_path)


def test_a_failure_in_one_process_of_torchrun_ends_all_and_is_reported_with_its_process(
    tiny: Path, tmp_path: Path, install
) -> None:
    """Processes with torchrun's variables but without torchrun: the first must detect that the second has ended."""
    site = install("failing", "[sslkit.losses]\nfailing = failing_loss:Failing\n", failing_loss=FAILING_LOSS)
    settings = ["--set", "train.devices=2", "--set", "loss={use = 'failing', how = 'raise'}"]
    command = ["train", str(tiny), *settings, "--runs", str(tmp_path / "runs")]
    environment = os.environ | {
        "PYTHONPATH": str(site),
        "OMP_NUM_THREADS": "1",
        "TORCHELASTIC_RUN_ID": "tiny",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(find_free_network_port()),
        "WORLD_SIZE": "2",
    }
    ranks = ("0", "1")
    with (tmp_path / "out").open("w") as out, (tmp_path / "0").open("w") as err_0, (tmp_path / "1").open("w") as err_1:
        processes = [
            start_sslkit(command, environment | {"RANK": rank, "LOCAL_RANK": rank}, tmp_path, out, err)
            for rank, err in zip(ranks, (err_0, err_1), strict=True)
        ]
        for process in processes:
            process.join(120)
    first, second = ((tmp_path / rank).read_text() for rank in ranks)
    assert [process.exitcode for process in processes] == [1, 1]
    assert first.splitlines()[-1] == (
        "error: another process ended, and this one cannot continue without it: see the message of that process for "
        "the cause; if a checkpoint was saved, `sslkit resume` continues from it"
    )
    assert second == "process 1: error: the loss of the second process failed\n"
    (run,) = all_runs(tmp_path / "runs")
    assert run.status.state == "failed"


@pytest.fixture
def empty_registry() -> Iterator[None]:
    yield
    registered_components.clear()


def test_a_registered_component_that_other_processes_cannot_import_is_refused(
    tiny: Path, tmp_path: Path, empty_registry: None
) -> None:
    class LocalLoss(sslkit.Loss):
        api = 2

        def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
            return sslkit.LossOutput(views.student.features[0].square().mean())

    sslkit.register("local", LocalLoss)
    recipe = load_recipe(tiny, ["train.devices=2", "loss.use=local"])
    with pytest.raises(
        InputError, match=r"^other processes cannot import the component 'local' .* train with train\.devices = 1$"
    ):
        train(recipe, tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["train.devices=3"],
            "tiny.toml:6: train.batch_size: 256 images cannot be shared equally by 3 processes (set it to a multiple",
        ),
        (["train.devices=0"], "train.devices: "),
        (["train.nodes=2"], "train.nodes = 2: start several machines with torchrun or SLURM; see docs/scaling.md"),
    ],
)
def test_an_impossible_number_of_processes_is_refused_before_any_is_started(
    tiny: Path, tmp_path: Path, settings: list[str], message: str
) -> None:
    with pytest.raises((RecipeError, InputError)) as error:
        train(load_recipe(tiny, settings), tmp_path / "runs")
    assert message in str(error.value)
    assert not (tmp_path / "runs").exists()


def test_torchrun_must_start_as_many_processes_as_the_recipe_asks_for(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        InputError, match=r"^torchrun started 4 processes, but train.devices = 2 and train.nodes = 1 mean 2"
    ):
        train(load_recipe(tiny, ["train.devices=2"]), tmp_path / "runs")
