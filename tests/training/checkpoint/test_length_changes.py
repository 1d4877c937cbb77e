"""A run resumed with a different batch size, number of images or number of epochs continues at the same epoch."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from equal_runs import assert_equal_runs, metric_rows
from recording_reporter import RecordingReporter

from sslkit.contracts.dataset import Split
from sslkit.contracts.method import Batch, MethodOutput
from sslkit.data.datasets.digits import Digits
from sslkit.data.loader import Loader
from sslkit.data.store import TensorStore
from sslkit.errors import RunError
from sslkit.methods.joint_embedding import JointEmbedding
from sslkit.recipe.load import load_recipe
from sslkit.runs.run import Run
from sslkit.training.checkpoint.checkpoint_files import list_checkpoints, load_checkpoint
from sslkit.training.events import Progress, StepEnded
from sslkit.training.train import resume, train

SETTINGS = [
    "backbone.width=4",
    "train.keep_checkpoints=99",
    "monitor={every_epochs=0, collapse='off', log_every_steps=1}",
    "optimizer={use='adamw', lr=0.01, warmup_epochs=1.0, final_lr=0.001}",
]


@dataclass(frozen=True)
class Training:
    """Length of a training run."""

    batch_size: int
    epochs: int
    images: int = 1438

    @property
    def steps_per_epoch(self) -> int:
        return self.images // self.batch_size

    @property
    def settings(self) -> list[str]:
        return [f"train.batch_size={self.batch_size}", f"train.epochs={self.epochs}"]

    def learning_rate(self, step: int) -> float:
        """Return the learning rates of warm-up and cosine, computed from the definition of the options."""
        if step < self.steps_per_epoch:
            return 0.01 * step / self.steps_per_epoch
        share = (step - self.steps_per_epoch) / (self.steps_per_epoch * (self.epochs - 1) - 1)
        return 0.001 + 0.009 * (1 + math.cos(math.pi * share)) / 2


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    """Batches that were trained."""
    recorded: list[Batch] = []
    forward = JointEmbedding.forward

    def record_batch(self: JointEmbedding, batch: Batch) -> MethodOutput:
        recorded.append(batch)
        return forward(self, batch)

    monkeypatch.setattr(JointEmbedding, "forward", record_batch)
    return recorded


@pytest.fixture
def use_images(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that limits the training images to the first n images."""
    load = Digits.load

    def use_images(count: int) -> None:
        def load_first(self: Digits, split: str) -> Split:
            loaded = load(self, split)
            assert loaded.labels is not None
            return Split(TensorStore(loaded.images.gather(torch.arange(count))), loaded.labels[:count])

        monkeypatch.setattr(Digits, "load", load_first)

    return use_images


def change(run: Run, *settings: str) -> None:
    run.recipe.write_text(load_recipe(run.recipe, settings).to_toml())


CHANGES = {
    # length before, step of the interruption, length after, position in steps of the new length
    "a larger batch": (Training(100, 4), 21, Training(350, 4), 6),
    "a smaller batch": (Training(350, 4), 6, Training(100, 4), 21),
    "a larger batch near the end of an epoch": (Training(100, 3), 27, Training(350, 3), 7),
    "more epochs": (Training(350, 2), 6, Training(350, 5), 6),
    "fewer epochs": (Training(350, 5), 6, Training(350, 2), 6),
    "fewer images": (Training(100, 3), 21, Training(100, 3, images=720), 11),
    "more images": (Training(100, 3, images=720), 11, Training(100, 3), 22),
    "everything": (Training(100, 3, images=720), 7, Training(350, 6), 4),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_training_continues_at_the_same_epoch(
    name: str, tiny: Path, tmp_path: Path, stop_at, batches: list[Batch], use_images: Callable[[int], None]
) -> None:
    before, stop, now, position = CHANGES[name]
    use_images(before.images)
    run = train(load_recipe(tiny, [*SETTINGS, *before.settings]), tmp_path, stop_at([stop]))
    use_images(now.images)
    change(run, *now.settings)
    progress: list[Progress] = []
    reporter = RecordingReporter(StepEnded, lambda event: progress.append(event.progress))
    resume(run, reporter, allow=["recipe", "data"])

    left = now.steps_per_epoch * now.epochs - position
    status = run.status
    assert (status.state, status.step, status.steps) == ("finished", stop + left, stop + left)
    assert (status.epoch, status.epochs) == (now.epochs, now.epochs)
    assert [(each.step, each.steps, each.epoch) for each in progress] == [
        (stop + step, stop + left, (position + step) // now.steps_per_epoch) for step in range(1, left + 1)
    ]

    steps = [*range(stop), *range(position, position + left)]
    assert [(batch.step, batch.epoch) for batch in batches] == [
        *((step, step // before.steps_per_epoch) for step in steps[:stop]),
        *((step, step // now.steps_per_epoch) for step in steps[stop:]),
    ]
    seed = load_recipe(run.recipe).run.seed
    for training, part in ((before, slice(stop)), (now, slice(stop, None))):
        loader = Loader(
            TensorStore(torch.zeros(training.images, 1, 1, 1, dtype=torch.uint8)), training.batch_size, seed
        )
        for step, batch in zip(steps[part], batches[part], strict=True):
            first = step % loader.steps_per_epoch * training.batch_size
            expected = loader.order(step // loader.steps_per_epoch)[first : first + training.batch_size]
            assert torch.equal(batch.index, expected)

    rows = metric_rows(run)
    rates = [row for row in rows if row.metric == "lr"]
    assert [row.step for row in rates] == [*range(1, stop + left + 1)]
    trainings = [before] * stop + [now] * left
    assert [row.value for row in rates] == pytest.approx(
        [training.learning_rate(step) for training, step in zip(trainings, steps, strict=True)]
    )
    assert [row.epoch for row in rates] == pytest.approx(
        [(step + 1) / training.steps_per_epoch for training, step in zip(trainings, steps, strict=True)], abs=1e-6
    )
    assert all(one.epoch < other.epoch for one, other in pairwise(rates))
    assert [row.epoch for row in rows if row.metric == "epoch_loss"] == [*range(1, now.epochs + 1)]
    assert [each.step for each in reversed(list_checkpoints(run.checkpoints))] == sorted(
        {row.step for row in rows if row.metric == "epoch_loss"} | {stop}
    )
    (event,) = json.loads(run.provenance.read_text())["resumed"]
    assert event["position"] == {
        "before": {
            "step": stop,
            "steps": before.steps_per_epoch * before.epochs,
            "epoch": round(stop / before.steps_per_epoch, 6),
            "epochs": before.epochs,
        },
        "now": {
            "step": stop,
            "steps": stop + left,
            "epoch": round(position / now.steps_per_epoch, 6),
            "epochs": now.epochs,
        },
    }
    (note,) = (note for note in reporter.notes if note.startswith("the training's length has changed: "))
    assert f"after {position / now.steps_per_epoch:.2f} of {now.epochs} epochs, at step {stop} of {stop + left}" in note


def test_no_image_is_trained_twice_in_the_epoch_of_the_change(
    tiny: Path, tmp_path: Path, stop_at, batches: list[Batch]
) -> None:
    run = train(load_recipe(tiny, [*SETTINGS, *Training(100, 2).settings]), tmp_path, stop_at([7]))
    change(run, "train.batch_size=350")
    resume(run, stop_at([9]), allow=["recipe"])
    images = torch.cat([batch.index for batch in batches]).tolist()
    assert len(images) == len(set(images)) == 7 * 100 + 2 * 350
    losses = [row.value for row in metric_rows(run) if row.metric == "loss"]
    (epoch_loss,) = (row.value for row in metric_rows(run) if row.metric == "epoch_loss")
    assert epoch_loss == pytest.approx(sum(losses[:7]) / 7 / 2 + sum(losses[7:]) / 4, rel=1e-5)


def test_a_run_stopped_again_after_a_change_ends_in_the_same_bits(tiny: Path, tmp_path: Path, stop_at) -> None:
    run = train(load_recipe(tiny, [*SETTINGS, *Training(100, 2).settings]), tmp_path / "runs", stop_at([10]))
    change(run, "train.batch_size=350")
    other = Run(shutil.copytree(run.path, tmp_path / "other" / "tiny" / run.path.name, symlinks=True))
    uninterrupted = resume(run, allow=["recipe"])
    other = resume(other, stop_at([12]), allow=["recipe"])
    assert (other.status.state, other.status.step, other.status.steps) == ("interrupted", 12, 15)
    assert_equal_runs(resume(other), uninterrupted)
    assert load_checkpoint(run.last_checkpoint)["position"] == {"step": 8, "steps_per_epoch": 4, "epochs": 2}


def test_fewer_epochs_than_are_trained_are_refused(tiny: Path, tmp_path: Path, stop_at) -> None:
    run = train(load_recipe(tiny, [*SETTINGS, *Training(350, 5).settings]), tmp_path, stop_at([10]))
    change(run, "train.epochs=2")
    with pytest.raises(RunError, match=r"train.epochs was 5, is 2"):
        resume(run)
    before = run.status
    with pytest.raises(RunError) as error:
        resume(run, allow=["recipe"])
    assert str(error.value) == (
        f"{run.name} cannot be resumed with train.epochs = 2: 2.50 epochs are trained already; "
        f"set train.epochs in {run.recipe} to at least 3"
    )
    assert run.status == before
    assert "resumed" not in json.loads(run.provenance.read_text())
    change(run, "train.epochs=3")
    resume(run, allow=["recipe"])
    assert (run.status.state, run.status.step, run.status.epoch) == ("finished", 12, 3)


def test_exactly_the_trained_epochs_finish_the_run(tiny: Path, tmp_path: Path, stop_at) -> None:
    run = train(load_recipe(tiny, [*SETTINGS, *Training(350, 5).settings]), tmp_path, stop_at([8]))
    change(run, "train.epochs=2", "train.batch_size=100")
    resume(run, allow=["recipe"])
    assert (run.status.state, run.status.step, run.status.steps) == ("finished", 8, 8)
    assert (run.status.epoch, run.status.epochs) == (2, 2)
    assert run.has_weights


def test_a_failure_before_the_first_step_keeps_the_recorded_progress(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at
) -> None:
    run = train(load_recipe(tiny, [*SETTINGS, *Training(100, 2).settings]), tmp_path, stop_at([20]))
    before = run.status
    change(run, "train.batch_size=350")

    def fail(self: Any, checkpoint: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("sslkit.training.learner.Learner.on_load_checkpoint", fail)
    with pytest.raises(Exception, match="Input/output error"):
        resume(run, allow=["recipe"])
    now = run.status
    assert now.state == "failed"
    assert (now.step, now.steps, now.epoch, now.epochs) == (before.step, before.steps, before.epoch, before.epochs)


CYCLE = """
import torch
import sslkit
class Cycle(sslkit.Optimizer):
    api = 2
    def build(self, groups):
        return torch.optim.AdamW([{"params": list(group.parameters)} for group in groups], lr=1e-3)
    def schedule(self, optimizer):
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=self.context.total_steps + 1)
"""


def cycle(steps: int) -> Iterator[tuple[float, float]]:
    """Yield learning rate and beta of each step of a new training run."""
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps + 1)
    for _ in range(steps):
        yield optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"][0]
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize(("now", "position"), [(Training(100, 3), 21), (Training(350, 5), 6)], ids=["batch", "epochs"])
def test_a_schedule_of_torch_follows_the_new_length(
    now: Training, position: int, tiny: Path, tmp_path: Path, install: Any, stop_at
) -> None:
    install("plug", "[sslkit.optimizers]\ncycle = plug:Cycle\n", plug=CYCLE)
    settings = [*SETTINGS[:-1], *Training(350, 3).settings, "optimizer={use='cycle'}"]
    run = train(load_recipe(tiny, settings), tmp_path, stop_at([6]))
    change(run, *now.settings)
    resume(run, stop_at([8]), allow=["recipe"])
    expected = [*cycle(now.steps_per_epoch * now.epochs)]
    rates = [row.value for row in metric_rows(run) if row.metric == "lr"]
    assert rates[6:] == pytest.approx([rate for rate, _ in expected[position : position + 2]])
    for group in load_checkpoint(run.last_checkpoint)["optimizer_states"][0]["param_groups"]:
        assert (group["lr"], group["betas"][0]) == pytest.approx(expected[position + 2])


LATE_LOSS = [
    "train.epochs=4",
    "head=[{name='late', use='selfcls-mlp', hidden_dims=[], classifiers=[4]},"
    " {name='early', use='swav', prototypes=[8], hidden_dim=8, freeze_prototypes='FREEZE'}]",
    "loss=[{use='selfcls', name='late', head='late', start_epoch=3},"
    " {use='swav', name='early', head='early', queue_size=720, queue_start='3 epochs'}]",
    "method={use='momentum-teacher', momentum=0.9}",
]


@pytest.mark.parametrize(
    ("freeze", "trained"),
    # The first two epochs have 14 steps in total, each later epoch has two.
    [("3 epochs", 16), ("15 steps", 15), ("13 steps", 13)],
)
def test_what_starts_later_follows_the_epochs_and_durations_in_steps_count_all_steps(
    freeze: str, trained: int, tiny: Path, tmp_path: Path, stop_at
) -> None:
    settings = [*SETTINGS, "train.batch_size=200", *(text.replace("FREEZE", freeze) for text in LATE_LOSS)]
    run = train(load_recipe(tiny, [*settings, "train.checkpoint_every=1 steps"]), tmp_path, stop_at([14]))
    change(run, "train.batch_size=700")
    resume(run, allow=["recipe"])
    assert run.status.step == 14 + 4
    assert [row.step for row in metric_rows(run) if row.metric == "late"] == [17, 18]
    prototypes, queued = {}, {}
    for checkpoint in list_checkpoints(run.checkpoints):
        state = load_checkpoint(checkpoint.path)["state_dict"]
        prototypes[checkpoint.step] = state["method.head_modules.1.prototypes.heads.0.weight"]
        queued[checkpoint.step] = int(state["method.loss_modules.1.queue_modules.0._extra_state"])
    moved = [step for step in range(2, 19) if not torch.equal(prototypes[step], prototypes[step - 1])]
    assert moved == [*range(trained + 1, 19)]
    assert queued == {step: max(0, step - 16) * 700 for step in range(1, 19)}


def test_a_continued_run_keeps_its_order_of_images(tiny: Path, tmp_path: Path, stop_at, batches: list[Batch]) -> None:
    parent = train(load_recipe(tiny, [*SETTINGS, *Training(350, 1).settings]), tmp_path)
    settings = [*SETTINGS[:-1], *Training(350, 2).settings]
    run = train(load_recipe(tiny, settings), tmp_path, stop_at([2]), parent=parent)
    change(run, "train.batch_size=700")
    resume(run, allow=["recipe"])
    order = Loader(TensorStore(torch.zeros(1438, 1, 1, 1, dtype=torch.uint8)), 700, load_recipe(tiny).run.seed).order(1)
    assert torch.equal(torch.cat([batch.index for batch in batches[4:7]]), order[:1400])
    child = train(load_recipe(tiny, [*SETTINGS[:-1], *Training(700, 1).settings]), tmp_path, parent=run)
    continued = json.loads(child.provenance.read_text())["continued_from"]
    assert continued == {"run": run.name, "steps": 4 + 2 + 3, "epochs": 1 + 2}


def test_several_processes_continue_at_the_same_epoch(tiny: Path, tmp_path: Path, stop_at) -> None:
    run = train(load_recipe(tiny, [*SETTINGS, *Training(100, 2).settings]), tmp_path, stop_at([7]))
    change(run, "train.batch_size=350", "train.devices=2")
    resume(run, allow=["recipe", "processes"])
    assert (run.status.state, run.status.step, run.status.steps, run.status.epoch) == ("finished", 13, 13, 2)
    rates = [row.value for row in metric_rows(run) if row.metric == "lr"]
    assert rates[7:] == pytest.approx([Training(350, 2).learning_rate(step) for step in range(2, 8)])
