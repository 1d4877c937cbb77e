"""Runs of ten steps: their files, and bit-identical results of equal recipes."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from equal_runs import assert_equal_runs, differences, metric_rows
from recording_reporter import RecordingReporter
from safetensors.torch import load_file

from sslkit.contracts.dataset import Split
from sslkit.data.datasets.digits import Digits
from sslkit.errors import RecipeError, RunError, TrainingError
from sslkit.recipe.load import load_recipe
from sslkit.runs.find import all_runs
from sslkit.runs.run import Run
from sslkit.trained.network import TrainedNetwork
from sslkit.training import preparation
from sslkit.training.checkpoint import checkpoint_files
from sslkit.training.checkpoint.checkpoint_files import list_checkpoints, load_checkpoint
from sslkit.training.distributed.processes import Processes
from sslkit.training.events import Reporter
from sslkit.training.train import resume, train


def train_tiny(recipe: Path, runs: Path, *settings: str, reporter: Reporter | None = None) -> Run:
    return train(load_recipe(recipe, settings), runs, reporter)


def weights(run: Run) -> list[dict[str, torch.Tensor]]:
    return [load_file(run.backbone), load_file(run.heads)]


def same_weights(first: Run, second: Run) -> bool:
    return not list(differences(weights(first), weights(second)))


@pytest.fixture(scope="module")
def finished(tiny_recipe_text: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Finished run that was never interrupted."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.toml").write_text(tiny_recipe_text)
    return train_tiny(folder / "tiny.toml", folder / "runs")


def test_a_run_folder_is_complete(finished: Run) -> None:
    names = {str(path.relative_to(finished.path)) for path in finished.path.rglob("*") if path.is_file()}
    assert {name for name in names if "/step-" not in name} == {
        ".lock",
        "recipe.toml",
        "provenance.json",
        "status.json",
        "metrics.csv",
        "backbone.safetensors",
        "heads.safetensors",
        "typical-images.safetensors",
        "checkpoints/last.ckpt",
        "checkpoints/best.ckpt",
    }
    assert [checkpoint.step for checkpoint in list_checkpoints(finished.checkpoints)] == [10, 5]
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


def test_metrics_have_each_log_interval_and_epoch_once(finished: Run) -> None:
    rows = metric_rows(finished)
    assert [row.step for row in rows if row.metric == "loss"] == [3, 6, 9, 10]
    assert [row.step for row in rows if row.metric == "epoch_loss"] == [5, 10]
    last = {row.metric: row.value for row in rows}
    assert last["monitor/ln_k"] == pytest.approx(2.302585)
    for name in ("acc", "nmi", "knn", "entropy"):
        assert 0 < last[f"monitor/{name}"] < 2.31
    assert last["lr"] < 1e-3


def test_the_same_recipe_gives_the_same_bits_and_another_seed_does_not(
    finished: Run, tiny: Path, tmp_path: Path
) -> None:
    torch.rand(3)  # the global random state before training must not matter
    assert same_weights(finished, train_tiny(tiny, tmp_path / "runs"))
    assert not same_weights(finished, train_tiny(tiny, tmp_path / "runs", "run.seed=8"))


def test_labels_do_not_affect_training(
    finished: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Digits.load

    def load_shuffled(self: Digits, split: str) -> Split:
        original = load(self, split)
        assert original.labels is not None
        return Split(original.images, original.labels[torch.randperm(len(original.labels))])

    monkeypatch.setattr(Digits, "load", load_shuffled)
    other = train_tiny(tiny, tmp_path / "runs")
    assert same_weights(finished, other)
    measured = [[row for row in metric_rows(run) if row.metric.startswith("monitor")] for run in (finished, other)]
    assert measured[0] != measured[1]


@pytest.mark.parametrize("stops", [[1, 5], [2, 3, 4, 9]], ids=str)
def test_an_interrupted_run_ends_in_the_same_bits(
    finished: Run, tiny: Path, tmp_path: Path, stops: list[int], stop_at
) -> None:
    run = train_tiny(tiny, tmp_path / "runs", reporter=stop_at(stops))
    while run.status.state == "interrupted":
        assert run.status.step in stops
        assert not run.backbone.exists()
        torch.rand(5)
        run = resume(run, stop_at([step for step in stops if step > run.status.step]))
    assert_equal_runs(run, finished)


def test_the_saved_recipe_trains_to_the_same_bits(finished: Run, tmp_path: Path) -> None:
    assert same_weights(finished, train_tiny(finished.recipe, tmp_path / "runs"))


def test_a_run_that_cannot_be_resumed_is_refused_with_the_reason(
    finished: Run, tiny: Path, tmp_path: Path, stop_at
) -> None:
    with pytest.raises(RunError, match=r"tiny/.* is finished: there is nothing to resume"):
        resume(finished)
    run = train_tiny(tiny, tmp_path / "runs", reporter=stop_at([2]))
    (checkpoint,) = list_checkpoints(run.checkpoints)
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:-2000])
    with pytest.raises(RunError) as error:
        resume(run)
    message = str(error.value)
    assert message.startswith(f"{run.name} cannot be resumed, all its checkpoints are damaged ({checkpoint.path.name}:")
    assert "checksum" in message
    assert message.endswith(f"train it again with `sslkit train {run.recipe}`")
    checkpoint.path.unlink()
    with pytest.raises(RunError, match=r"first checkpoint, or they were removed: train it again with `sslkit train"):
        resume(run)
    with run.locked(), pytest.raises(RunError, match="another process is training"):
        resume(run)


def test_a_run_is_locked_once_all_processes_have_chosen_it(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at
) -> None:
    run = train_tiny(tiny, tmp_path / "runs", reporter=stop_at([2]))

    class OtherProcesses(Processes):
        def broadcast(self, value: Any) -> Any:
            with run.locked():
                return "tiny/another"

    monkeypatch.setattr(preparation, "connect", lambda *_: OtherProcesses())
    with pytest.raises(RunError, match=f"processes would resume different runs, tiny/another and {run.name}"):
        resume(run)


def test_a_data_set_smaller_than_a_batch_is_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        train_tiny(tiny, tmp_path / "runs", "train.batch_size=2000")
    message = str(error.value.problems[0])
    assert message.startswith("--set train.batch_size=2000: train.batch_size: ")
    assert "1438 training images" in message
    assert "set train.batch_size to at most 1438" in message
    assert not (tmp_path / "runs").exists()


def test_swav_and_selfcls_train_together_with_lars_and_sgd(tiny: Path, tmp_path: Path) -> None:
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
        rows = metric_rows(train_tiny(tiny, tmp_path / "runs", *settings))
        assert {"loss", "selfcls", "swav"} <= {row.metric for row in rows}
        losses = {row.metric: row.value for row in rows if row.step == 9}
        assert losses["loss"] == pytest.approx(losses["selfcls"] + 0.5 * losses["swav"], rel=1e-5)


FEATURE_LOSS = """
import sslkit
class Spread(sslkit.Loss):
    api = 2
    needs = frozenset({"features"})
    def forward(self, views):
        return sslkit.LossOutput((views.student.features[0] - views.student.features[1]).square().mean())
"""


def test_a_loss_on_features_needs_no_head(tiny: Path, tmp_path: Path, install: Any) -> None:
    install("plug", "[sslkit.losses]\nspread = spread_loss:Spread\n", spread_loss=FEATURE_LOSS)
    text = tiny.read_text()
    head, loss = text.index("[head]"), text.index("[loss]")
    tiny.write_text(text[:head] + text[loss:])
    settings = ["loss.use=spread", "train.epochs=1"]
    run = train_tiny(tiny, tmp_path / "runs", *settings)
    with pytest.raises(RunError, match="is finished: there is nothing to resume"):
        resume(run)
    child = train(load_recipe(tiny, settings), tmp_path / "runs", parent=run)
    assert child.status.state == "finished"
    assert TrainedNetwork(child, "cpu").head is None


def test_a_run_killed_while_it_writes_its_weights_can_be_completed(finished: Run, tiny: Path, tmp_path: Path) -> None:
    run = train_tiny(tiny, tmp_path / "runs")
    run.backbone.unlink()
    run.heads.unlink()
    run.write_status("interrupted", 10, 10, 2, 2)
    assert_equal_runs(resume(run), finished)
    assert run.status.state == "finished"


def test_a_full_disk_stops_the_run_and_keeps_its_last_checkpoint(
    finished: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atomic, paths = checkpoint_files.write_atomic, []

    def fail_from_second_write(path: Path, data: bytes) -> None:
        paths.append(path)
        if len(paths) > 1:
            raise OSError(28, "No space left on device")
        write_atomic(path, data)

    monkeypatch.setattr(checkpoint_files, "write_atomic", fail_from_second_write)
    with pytest.raises(TrainingError, match=r"stopped after step 10: .*could not be written: No space left") as error:
        train_tiny(tiny, tmp_path / "runs")
    (run,) = all_runs(tmp_path / "runs")
    assert str(error.value).endswith(f"make room, then `sslkit resume {run.path}` continues from step 5")
    assert run.status.state == "failed"
    monkeypatch.undo()
    assert_equal_runs(resume(run), finished)


def test_a_diverged_training_fails_and_keeps_its_last_good_checkpoint(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"training diverged in step 2 \(batch 2 of epoch 1, .*loss is nan"):
        train_tiny(tiny, tmp_path / "runs", "optimizer.lr=1e30", "train.checkpoint_every=1 steps")
    (run,) = all_runs(tmp_path / "runs")
    assert run.status.state == "failed"
    assert not run.backbone.exists()
    assert [checkpoint.step for checkpoint in list_checkpoints(run.checkpoints)] == [1]


CALLBACK_FACTORY = """
import pytorch_lightning
class Uninvited(pytorch_lightning.Callback):
    pass
def factory():
    return [Uninvited()]
"""


def test_third_party_callbacks_are_recorded_and_reported(tiny: Path, tmp_path: Path, install) -> None:
    entry = "[pytorch_lightning.callbacks_factory]\nnosy = nosy_module:factory\n"
    install("nosy", entry, nosy_module=CALLBACK_FACTORY)
    reporter = RecordingReporter()
    run = train_tiny(tiny, tmp_path / "runs", "train.epochs=1", reporter=reporter)
    assert json.loads(run.provenance.read_text())["third_party_callbacks"] == ["nosy_module.Uninvited"]
    assert [note for note in reporter.notes if "nosy_module.Uninvited" in note and "Lightning" in note]


def test_the_scores_of_each_number_of_classes_are_copied_into_the_run(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "class_count.json").write_text('{"classes": 3}')
    run = train(load_recipe(tiny, ["train.epochs=1"]), tmp_path / "runs")
    assert run.class_count.read_text() == '{"classes": 3}'
    # The run's own recipe brings the scores along.
    (tmp_path / "class_count.json").unlink()
    assert train(load_recipe(run.recipe, ["train.epochs=1"]), tmp_path / "runs").class_count.exists()
    assert not train(load_recipe(tiny, ["train.epochs=1"]), tmp_path / "runs").class_count.exists()
