"""Whole trainings of ten steps: what they leave, and that nothing but the recipe decides the bits."""

from __future__ import annotations

import json
import math
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sslkit.contracts.dataset import Split
from sslkit.contracts.loss import LossOutput, ViewOutputs
from sslkit.data.datasets.digits import Digits
from sslkit.data.store import TensorStore
from sslkit.errors import DataError, IncompatibleComponentError, RecipeError, RunError, TrainingError
from sslkit.recipe.check import load_recipe
from sslkit.runs.find import all_runs
from sslkit.runs.metrics_file import read_history
from sslkit.runs.run import Run
from sslkit.runs.weights import read_metadata
from sslkit.trained.network import TrainedNetwork
from sslkit.training import setup as prepare
from sslkit.training.checkpoint.files import load_checkpoint, saved
from sslkit.training.distributed.processes import Processes
from sslkit.training.events import Reporter
from sslkit.training.train import resume, train
from sslkit_selfcls.loss import SelfClassifierLoss


def run_once(recipe: Path, runs: Path, *settings: str, reporter: Reporter | None = None) -> Run:
    return train(load_recipe(recipe, settings), runs, reporter)


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.backbone) | {f"heads.{name}": value for name, value in load_file(run.heads).items()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def rows(run: Run) -> list[tuple[int, float, str, float]]:
    return [tuple(row) for row in read_history(run.metrics) if not row.metric.startswith("time/")]


def equal(left: Any, right: Any) -> bool:
    """Whether two trees are the same to the bit."""
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(equal, left, right))
    return bool(left == right)


@pytest.fixture(scope="module")
def finished(tiny_text: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that was never interrupted."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.toml").write_text(tiny_text)
    return run_once(folder / "tiny.toml", folder / "runs")


def test_a_run_folder_holds_everything(finished: Run) -> None:
    names = {str(path.relative_to(finished.path)) for path in finished.path.rglob("*") if path.is_file()}
    assert {name for name in names if "/step-" not in name} == {
        ".lock",
        "recipe.toml",
        "provenance.json",
        "status.json",
        "metrics.csv",
        "backbone.safetensors",
        "heads.safetensors",
        "checkpoints/last.ckpt",
        "checkpoints/best.ckpt",
    }
    assert [checkpoint.step for checkpoint in saved(finished.checkpoints)] == [10, 5]
    assert load_checkpoint(finished.last_checkpoint)["global_step"] == 10
    assert (finished.path.parent.parent / "latest").resolve() == finished.path.resolve()
    assert finished.status.state == "finished"
    assert (finished.status.step, finished.status.epoch) == (10, 2)
    record = json.loads(finished.provenance.read_text())
    assert record["components"]["loss"] == {
        "kind": "loss",
        "name": "selfcls",
        "distribution": "sslkit-selfcls",
        "version": "0.1.0",
    }
    assert record["seed"] == 7
    assert record["versions"]["torch"] == metadata.version("torch")
    assert record["hardware"]["threads"] == torch.get_num_threads()


def test_the_history_has_every_interval_and_epoch_once(finished: Run) -> None:
    found = rows(finished)
    assert [step for step, _, metric, _ in found if metric == "loss"] == [3, 6, 9, 10]
    assert [step for step, _, metric, _ in found if metric == "epoch_loss"] == [5, 10]
    by_name = {metric: value for _, _, metric, value in found}
    assert by_name["monitor/ln_k"] == pytest.approx(2.302585)
    for name in ("acc", "nmi", "knn", "entropy"):
        assert 0 < by_name[f"monitor/{name}"] < 2.31
    assert by_name["lr"] < 1e-3


def test_the_same_recipe_gives_the_same_bits_and_another_seed_does_not(
    finished: Run, tiny: Path, tmp_path: Path
) -> None:
    torch.rand(3)  # what happened in the process before must not matter
    assert same(weights(finished), weights(run_once(tiny, tmp_path / "runs")))
    assert not same(weights(finished), weights(run_once(tiny, tmp_path / "runs", "run.seed=8")))


def test_labels_never_touch_training(
    finished: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Digits.load

    def shuffled(self: Digits, split: str) -> Split:
        found = honest(self, split)
        assert found.labels is not None
        return Split(found.images, found.labels[torch.randperm(len(found.labels))])

    monkeypatch.setattr(Digits, "load", shuffled)
    other = run_once(tiny, tmp_path / "runs")
    assert same(weights(finished), weights(other))
    assert [row for row in rows(finished) if "monitor" in row[2]] != [row for row in rows(other) if "monitor" in row[2]]


@pytest.mark.parametrize("stops", [[1, 5], [2, 3, 4, 9]], ids=str)
def test_an_interrupted_run_ends_in_the_same_bits(
    finished: Run, tiny: Path, tmp_path: Path, stops: list[int], stop_at
) -> None:
    run = run_once(tiny, tmp_path / "runs", reporter=stop_at(stops))
    while run.status.state == "interrupted":
        assert run.status.step in stops
        assert not run.backbone.exists()
        torch.rand(5)
        run = resume(run, stop_at([step for step in stops if step > run.status.step]))
    assert same(weights(finished), weights(run))
    assert rows(finished) == rows(run)
    one, other = load_checkpoint(finished.last_checkpoint), load_checkpoint(run.last_checkpoint)
    for key in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert equal(one[key], other[key]), key
    states = [next(iter(found["callbacks"].values()))["processes"][0]["random"] for found in (one, other)]
    assert torch.equal(states[0]["torch"], states[1]["torch"])
    assert states[0]["python"] == states[1]["python"]


def test_the_saved_recipe_trains_to_the_same_bits(finished: Run, tmp_path: Path) -> None:
    assert same(weights(finished), weights(run_once(finished.recipe, tmp_path / "runs")))


def test_what_cannot_be_resumed_says_why(finished: Run, tiny: Path, tmp_path: Path, stop_at) -> None:
    with pytest.raises(RunError, match=r"tiny/.* is finished: there is nothing to resume"):
        resume(finished)
    run = run_once(tiny, tmp_path / "runs", reporter=stop_at([2]))
    (checkpoint,) = saved(run.checkpoints)
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:-2000])
    with pytest.raises(RunError) as error:
        resume(run)
    assert str(error.value) == (
        f"{run.name} cannot go on, all its checkpoints are damaged ({checkpoint.path.name}: its content is not what "
        f"was written, by the checksum in its name): train it again with `sslkit train {run.recipe}`"
    )
    checkpoint.path.unlink()
    with pytest.raises(RunError, match=r"first checkpoint, or they were removed: train it again with `sslkit train"):
        resume(run)
    with run.held(), pytest.raises(RunError, match="is being trained right now, by another process"):
        resume(run)


def test_processes_hold_a_run_once_all_have_chosen_the_same(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at
) -> None:
    run = run_once(tiny, tmp_path / "runs", "backbone.width=4", reporter=stop_at([2]))

    class Others(Processes):
        def share(self, value: Any) -> Any:
            with run.held():
                return "tiny/another"

    monkeypatch.setattr(prepare, "meet", lambda *_: Others())
    with pytest.raises(RunError) as error:
        resume(run)
    assert str(error.value) == (
        f"the processes would go on with different runs, tiny/another and {run.name}: name the one you mean"
    )


def test_a_data_set_smaller_than_a_batch_is_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        run_once(tiny, tmp_path / "runs", "train.batch_size=2000")
    assert str(error.value.problems[0]) == (
        "--set train.batch_size=2000: train.batch_size: there are 1438 training images, fewer than one batch of 2000: "
        "set train.batch_size to at most 1438"
    )
    assert not (tmp_path / "runs").exists()


def test_the_classifier_with_the_lowest_loss_is_chosen_and_monitored(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = SelfClassifierLoss.forward

    def told(self: SelfClassifierLoss, views: ViewOutputs) -> LossOutput:
        found = honest(self, views)
        # Relative to ln K the second is best, though the third has the lowest loss.
        return LossOutput(found.total, found.terms, tuple(map(torch.tensor, (2.2, 1.0, 0.9))))

    monkeypatch.setattr(SelfClassifierLoss, "forward", told)
    run = run_once(tiny, tmp_path / "runs", "head.classifiers=[10, 12, 3]", "evaluation.classifier=lowest-loss")
    assert read_metadata(run.heads)["classifier"] == 1
    assert {value for _, _, metric, value in rows(run) if metric == "monitor/ln_k"} == {math.log(12)}


def test_lars_and_sgd_train_swav_and_selfcls_together(tiny: Path, tmp_path: Path) -> None:
    text = tiny.read_text().replace("[head]\n", "[[head]]\n").replace("[loss]\n", "[[loss]]\n")
    text += """
[[head]]
use = "swav"
prototypes = [16]

[[loss]]
use = "swav"
weight = 0.5
head = "swav"
"""
    tiny.write_text(text)
    for settings in (["optimizer={use = 'lars', lr = 0.1}"], ["optimizer={use = 'sgd', lr = 0.1}"]):
        run = run_once(tiny, tmp_path / "runs", *settings)
        logged = {metric for _, _, metric, _ in rows(run)}
        assert {"loss", "selfcls", "swav"} <= logged
        losses = {metric: value for step, _, metric, value in rows(run) if step == 9}
        assert losses["loss"] == pytest.approx(losses["selfcls"] + 0.5 * losses["swav"], rel=1e-5)


def test_choosing_by_loss_needs_a_loss_that_tells(tiny: Path, tmp_path: Path, install: Any) -> None:
    source = """
import sslkit
class Mute(sslkit.Loss):
    api = 1
    needs = frozenset({"logits"})
    def forward(self, views):
        return sslkit.LossOutput(views.student.logits[0][0].square().mean())
"""
    install("plug", "[sslkit.losses]\nmute = mute_loss:Mute\n", mute_loss=source)
    with pytest.raises(
        RecipeError, match=r"evaluation.classifier: no loss tells the loss of each classifier of the head"
    ):
        run_once(tiny, tmp_path / "runs", "loss.use=mute", "evaluation.classifier=lowest-loss")


HEADLESS = """
import sslkit
class Spread(sslkit.Loss):
    api = 1
    needs = frozenset({"features"})
    def forward(self, views):
        return sslkit.LossOutput((views.student.features[0] - views.student.features[1]).square().mean())
"""


def test_a_loss_of_features_alone_needs_no_head(tiny: Path, tmp_path: Path, install: Any) -> None:
    install("plug", "[sslkit.losses]\nspread = spread_loss:Spread\n", spread_loss=HEADLESS)
    text = tiny.read_text()
    cut = text.index("[head]"), text.index("[loss]")
    tiny.write_text(text[: cut[0]] + text[cut[1] :])
    settings = ["loss.use=spread", "train.epochs=1"]
    run = run_once(tiny, tmp_path / "runs", *settings)
    with pytest.raises(RunError, match="is finished: there is nothing to resume"):
        resume(run)
    child = train(load_recipe(tiny, settings), tmp_path / "runs", parent=run)
    assert child.status.state == "finished"
    assert TrainedNetwork(child, "cpu").head is None


def test_a_run_killed_while_it_wrote_its_weights_is_completed(tiny: Path, tmp_path: Path) -> None:
    run = run_once(tiny, tmp_path / "runs")
    trained, written = weights(run), rows(run)
    run.backbone.unlink()
    run.heads.unlink()
    run.write_status("interrupted", 10, 10, 2, 2)
    assert same(trained, weights(resume(run)))
    assert run.status.state == "finished"
    assert rows(run) == written


def test_a_full_disk_stops_the_run_with_its_last_checkpoint_intact(
    finished: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sslkit.training.checkpoint import files as checkpoints

    honest, writes = checkpoints.write_atomic, []

    def full_from_the_second_on(path: Path, data: bytes) -> None:
        writes.append(path)
        if len(writes) > 1:
            raise OSError(28, "No space left on device")
        honest(path, data)

    monkeypatch.setattr(checkpoints, "write_atomic", full_from_the_second_on)
    with pytest.raises(TrainingError) as error:
        run_once(tiny, tmp_path / "runs")
    (run,) = all_runs(tmp_path / "runs")
    assert str(error.value) == (
        "training stopped after step 10, a file could not be written: No space left on device; "
        f"make room, then `sslkit resume {run.path}` goes on from step 5"
    )
    assert run.status.state == "failed"
    monkeypatch.undo()
    assert same(weights(finished), weights(resume(run)))
    assert rows(run) == rows(finished)


def test_a_training_that_diverges_fails_and_keeps_what_was_good(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"training diverged in step 2 \(batch 2 of epoch 1, .*loss is nan"):
        run_once(tiny, tmp_path / "runs", "optimizer.lr=1e30", "train.checkpoint_every=1 steps")
    (run,) = all_runs(tmp_path / "runs")
    assert run.status.state == "failed"
    assert not run.backbone.exists()
    assert [checkpoint.step for checkpoint in saved(run.checkpoints)] == [1]


PLUG = """
import torch, sslkit
class TooMany(sslkit.Views):
    api = 1
    groups = (sslkit.ViewGroup(2, 8, True),)
    def draw(self, n, generator):
        return ({"x": torch.zeros(n, 2)},)
    def apply(self, images, parameters):
        return (torch.zeros(len(images), 2, 1, 8, 8),)
class Narrow(sslkit.Head):
    api = 1
    embedding_dim = 32
    classifiers = (10,)
    def embed(self, features):
        return features[:, :8]
    def classify(self, embedding):
        return (embedding,)
class Stops(sslkit.Loss):
    api = 1
    def forward(self, views):
        return next(iter(()))
"""


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        (
            "views.use=too-many",
            IncompatibleComponentError,
            r"view 'too-many' of plug .*: views are \[\(256, 2, 1, 8, 8\)\], but",
        ),
        (
            "head.use=narrow",
            IncompatibleComponentError,
            r"head 'narrow' of plug .*: it gives embeddings of \(8,\) and logits of",
        ),
        ("loss.use=stops", RuntimeError, "a component raised StopIteration in a training step"),
    ],
)
def test_components_that_break_their_word_are_found_on_the_first_batch(
    tiny: Path, tmp_path: Path, install: Any, setting: str, error: type[Exception], message: str
) -> None:
    entries = {"views": "too-many = word:TooMany", "heads": "narrow = word:Narrow", "losses": "stops = word:Stops"}
    install("plug", "".join(f"[sslkit.{kind}]\n{entry}\n" for kind, entry in entries.items()), word=PLUG)
    with pytest.raises(error, match=message):
        run_once(tiny, tmp_path / "runs", setting)


def test_labels_must_be_as_many_as_images() -> None:
    images = TensorStore(torch.zeros(5, 1, 2, 2, dtype=torch.uint8))
    with pytest.raises(DataError, match="the data set gives 3 labels for 5 images"):
        Split(images, torch.zeros(3, dtype=torch.int64))


FACTORY = """
import pytorch_lightning
class Uninvited(pytorch_lightning.Callback):
    pass
def factory():
    return [Uninvited()]
"""


def test_callbacks_of_other_packages_are_recorded_and_can_be_refused(tiny: Path, tmp_path: Path, install) -> None:
    install("nosy", "[pytorch_lightning.callbacks_factory]\nnosy = nosy_module:factory\n", nosy_module=FACTORY)
    run = train(load_recipe(tiny, ["train.epochs=1"]), tmp_path / "runs")
    assert json.loads(run.provenance.read_text())["foreign_callbacks"] == ["nosy_module.Uninvited"]
    with pytest.raises(TrainingError, match=r"adds nosy_module\.Uninvited to every Lightning training; uninstall it"):
        train(load_recipe(tiny, ["run.foreign_callbacks=false"]), tmp_path / "other")
    (failed,) = all_runs(tmp_path / "other")
    assert failed.status.state == "failed"
