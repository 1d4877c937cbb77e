"""Training on features of a frozen backbone: exact resume, cache, positives, guard, collapse, continued runs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from equal_runs import assert_equal_runs, differences
from recording_reporter import RecordingReporter
from safetensors.torch import load_file, save_file
from torch import Tensor

import sslkit
from sslkit.assembly.assemble import assemble
from sslkit.assembly.stored_views import FeatureStore
from sslkit.bench.bench import bench
from sslkit.contracts.dataset import Split
from sslkit.contracts.loss import LossOutput, ViewOutputs
from sslkit.contracts.views import move_parameters
from sslkit.data.datasets.digits import Digits
from sslkit.data.seeds import seeded_generator
from sslkit.device.hardware import choose_hardware
from sslkit.errors import RecipeError, RunError, TrainingError
from sslkit.features.extraction import extract_features
from sslkit.recipe.load import load_recipe
from sslkit.runs.find import all_runs
from sslkit.runs.metrics_file import read_metrics
from sslkit.runs.run import Run
from sslkit.training.dry_run import dry_run
from sslkit.training.events import FeaturesComputed, Reporter
from sslkit.training.learner import Learner
from sslkit.training.train import resume, train
from sslkit_backbones.convnet import ConvNet
from sslkit_selfcls.loss import SelfClassifierLoss

NEIGHBOURS = ["views={use='plain'}", "positives={use='neighbours', k=5}"]
DROPOUT = "head={use='selfcls-mlp', hidden_dims=[16], classifiers=[10, 10], dropout=0.2}"
LOCAL_CROPS = "views={use='crops', saturation=0, hue=0, grayscale_p=0, local_crops=1, local_size=6}"

CASES = {
    "neighbours": [*NEIGHBOURS, DROPOUT],
    "stored views": [DROPOUT],
    "stored local views and neighbours": [LOCAL_CROPS, "positives={use='neighbours', k=5}"],
    "a queue": [*NEIGHBOURS, "head={use='swav', prototypes=[16]}", "loss={use='swav', queue_size=512}"],
}


@pytest.fixture(scope="module")
def frozen(finished_run: Path) -> list[str]:
    """Settings of a frozen backbone with the weights of a finished run."""
    return ["backbone.width=32", f"backbone.weights='run:{finished_run}'", "backbone.train='none'"]


def record_images(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that receives the number of images of each forward pass of convnet."""
    passes: list[int] = []
    forward = ConvNet.forward

    def recording_forward(self: ConvNet, images: Tensor) -> Tensor:
        passes.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(ConvNet, "forward", recording_forward)
    return passes


@pytest.mark.parametrize("case", CASES)
def test_a_stopped_run_ends_in_the_same_bits(
    case: str, tiny: Path, tmp_path: Path, frozen: list[str], stop_at: Any
) -> None:
    recipe = load_recipe(tiny, [*frozen, *CASES[case]])
    uninterrupted = train(recipe, tmp_path / "uninterrupted")
    run = train(recipe, tmp_path / "runs", stop_at([7]))
    assert (run.status.state, run.status.step) == ("interrupted", 7)
    torch.manual_seed(0)
    assert_equal_runs(resume(run), uninterrupted)
    assert run.status.state == "finished"


def test_the_backbone_does_not_change_and_the_head_learns(
    tiny: Path, tmp_path: Path, frozen: list[str], finished_run: Path
) -> None:
    recipe = load_recipe(tiny, [*frozen, *NEIGHBOURS, "train.epochs=8", "optimizer.lr=0.01"])
    head = {name: value.clone() for name, value in assemble(recipe).method.heads["selfcls-mlp"].state_dict().items()}
    run = train(recipe, tmp_path / "runs")
    assert list(differences(load_file(run.backbone), load_file(finished_run / "backbone.safetensors"))) == []
    trained = load_file(run.heads)
    assert all(not torch.equal(trained[f"0.{name}"], value) for name, value in head.items() if "weight" in name)
    losses = [row.value for row in read_metrics(run.metrics) if row.metric == "loss"]
    assert losses[-1] < losses[0] - 0.1
    accuracies = [row.value for row in read_metrics(run.metrics) if row.metric == "monitor/acc"]
    assert accuracies[-1] > 0.4


@pytest.mark.parametrize("case", ["neighbours", "stored views"])
def test_features_are_computed_once_and_cached(
    case: str, tiny: Path, tmp_path: Path, frozen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKIT_CACHE", str(tmp_path / "cache"))
    passes, events = record_images(monkeypatch), []
    reporter = RecordingReporter(FeaturesComputed, events.append)
    # The monitors need features of the images without augmentation.
    rows = {"neighbours": 1438, "stored views": 3 * 1438}[case]
    train(load_recipe(tiny, [*frozen, *CASES[case]]), tmp_path / "runs", reporter)
    assert sum(passes) == rows
    assert events[-1].images == events[-1].total == 1438
    views, text = {"neighbours": (1, "1 view"), "stored views": (2, "2 views")}[case]
    size = 1438 * views * 128 * 4 / 1e6
    assert f"frozen backbone: features of 1438 images, {text} of 128 values ({size:.0f} MB)" in reporter.notes

    passes.clear()
    again = train(load_recipe(tiny, [*frozen, *CASES[case], "train.epochs=1"]), tmp_path / "runs")
    assert passes == [], "the second run reads the cache"
    assert again.status.state == "finished"

    other = "views={use='affine', translate=0.3}" if case == "stored views" else "views={use='plain', size=10}"
    train(load_recipe(tiny, [*frozen, *CASES[case], other]), tmp_path / "runs")
    assert sum(passes) >= 1438, "other views need other features"


def test_evaluation_and_training_share_the_cache(
    tiny: Path, tmp_path: Path, frozen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKIT_CACHE", str(tmp_path / "cache"))
    passes = record_images(monkeypatch)
    sslkit.train(tiny, runs=tmp_path, settings=[*frozen, *NEIGHBOURS]).evaluate(["cluster"])
    assert sum(passes) == 1797, "training and test images once"


def test_damaged_and_unwritable_caches_are_reported(
    tiny: Path, tmp_path: Path, frozen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKIT_CACHE", str(tmp_path / "cache"))
    recipe = load_recipe(tiny, [*frozen, *NEIGHBOURS])
    first = train(recipe, tmp_path / "runs")
    for entry in (tmp_path / "cache").rglob("*.safetensors"):
        entry.write_bytes(entry.read_bytes()[:-5])
    reporter = RecordingReporter()
    second = train(recipe, tmp_path / "other", reporter)
    assert any("are damaged" in note and "computed again" in note for note in reporter.notes)
    assert_equal_runs(second, first)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SSLKIT_CACHE", str(tmp_path / "file"))
    reporter = RecordingReporter()
    assert_equal_runs(train(recipe, tmp_path / "third", reporter), first)
    assert any("features are not cached" in note and "cannot be written" in note for note in reporter.notes)


def test_stored_views_are_those_of_the_policy(tiny: Path, frozen: list[str]) -> None:
    assembly = assemble(load_recipe(tiny, [*frozen, LOCAL_CROPS]))
    store, views, images = assembly.loader.images, assembly.views, assembly.images
    assert isinstance(store, FeatureStore)
    assert store.rows.shape == (len(images), 3, 128)
    drawn = views.draw(128, seeded_generator(7, "stored views", 128))
    groups = views.apply(images.gather(torch.arange(128, 256)), move_parameters(drawn, "cpu"))
    assert [group.shape[3] for group in groups] == [8, 6]
    backbone = assembly.method.backbone
    with torch.no_grad():
        expected = torch.cat([backbone(group.flatten(0, 1)).unflatten(0, group.shape[:2]) for group in groups])
    torch.testing.assert_close(store.rows[128:256], expected.transpose(0, 1), rtol=1e-4, atol=1e-5)
    plain = extract_features(backbone, images, views.preprocessing)
    assert not torch.allclose(store.rows[:, 0], plain, atol=1e-2)
    other = assemble(load_recipe(tiny, [*frozen, LOCAL_CROPS, "run.seed=8"])).loader.images
    assert not torch.allclose(other.rows, store.rows, atol=1e-2)


def test_the_step_reads_the_features_of_the_images_and_their_positives(tiny: Path, frozen: list[str]) -> None:
    assembly = assemble(load_recipe(tiny, [*frozen, LOCAL_CROPS, "positives={use='neighbours', k=5}"]))
    rows = assembly.loader.images.rows
    batch = next(iter(assembly.loader))
    groups = Learner(assembly, choose_hardware("cpu", "float32")).make_views(batch, 0)
    assert [tuple(group.shape) for group in groups] == [(4, 256, 128), (2, 256, 128)]
    assert torch.equal(groups[0][:2].transpose(0, 1), rows[batch.indices][:, :2])
    assert torch.equal(groups[1][0], rows[batch.indices][:, 2])
    neighbours, features = assembly.positives["neighbours"], rows
    for image in range(4):
        candidates = neighbours[batch.indices[image]].long()
        matches = [int(c) for c in candidates if torch.equal(groups[0][2:, image], features[c, :2])]
        assert len(matches) == 1
        assert torch.equal(groups[1][1, image], features[matches[0], 2])
    assert (assembly.context.view_count, assembly.context.global_view_count) == (6, 4)


@pytest.mark.parametrize("case", ["neighbours", "stored views"])
def test_training_does_not_depend_on_labels(
    case: str, tiny: Path, tmp_path: Path, frozen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(tiny, [*frozen, *CASES[case]])
    with_labels = train(recipe, tmp_path / "labels")
    load = Digits.load

    def load_shuffled(self: Digits, split: str) -> Split:
        loaded = load(self, split)
        order = torch.randperm(len(loaded.labels), generator=torch.Generator().manual_seed(3))
        return Split(loaded.images, loaded.labels[order])

    monkeypatch.setattr(Digits, "load", load_shuffled)
    shuffled = train(recipe, tmp_path / "shuffled")
    for name in ("backbone", "heads"):
        files = load_file(getattr(with_labels, name)), load_file(getattr(shuffled, name))
        assert list(differences(*files)) == []
    assert read_metric(with_labels, "monitor/knn") > 0.5 > read_metric(shuffled, "monitor/knn")


def read_metric(run: Run, metric: str) -> float:
    return [row.value for row in read_metrics(run.metrics) if row.metric == metric][-1]


@pytest.mark.parametrize("part", ["none", "all", "last 1 block"])
def test_neighbours_of_random_weights_are_refused(tiny: Path, part: str) -> None:
    tiny.write_text(f'{tiny.read_text()}[positives]\nuse = "neighbours"\n')
    line = tiny.read_text().splitlines().index("[positives]") + 2
    settings = ["views={use='plain'}", f"backbone.train='{part}'"]
    message = rf":{line}: positives\.use: the positives 'neighbours' compare features, but .* are random \(set weights"
    with pytest.raises(RecipeError, match=message):
        assemble(load_recipe(tiny, settings))


def test_too_few_images_for_the_neighbours(tiny: Path, frozen: list[str]) -> None:
    settings = [*frozen, "views={use='plain'}", "positives={use='neighbours', k=1438}"]
    with pytest.raises(
        RecipeError, match=r"positives\.k = 1438 needs more than 1438 training images, but there are 1438"
    ):
        assemble(load_recipe(tiny, settings))


@pytest.mark.parametrize("part", ["none", "last 1 block"])
def test_positives_with_changed_images(
    tiny: Path, tmp_path: Path, frozen: list[str], monkeypatch: pytest.MonkeyPatch, stop_at: Any, part: str
) -> None:
    recipe = load_recipe(tiny, [*frozen, *NEIGHBOURS, f"backbone.train='{part}'"])
    run = train(recipe, tmp_path / "runs", stop_at([7]))
    load = Digits.load

    def load_fewer(self: Digits, split: str) -> Split:
        loaded = load(self, split)
        return Split(sslkit.TensorStore(loaded.images.gather(torch.arange(1300))), loaded.labels[:1300])

    monkeypatch.setattr(Digits, "load", load_fewer)
    if part == "none":
        with pytest.raises(RunError, match="data: "):
            resume(run)
        assert resume(run, allow=["data"]).status.state == "finished"
    else:
        with pytest.raises(RecipeError, match=r"chosen among 1438 images, but there are 1300 now: use --continue-from"):
            resume(run, allow=["data"])


def test_a_resume_of_a_partly_trained_backbone_keeps_the_neighbours(
    tiny: Path, tmp_path: Path, frozen: list[str], stop_at: Any
) -> None:
    """Neighbours are those of the initial weights, which a resumed run no longer has."""
    recipe = load_recipe(tiny, [*frozen, *NEIGHBOURS, "backbone.train='last 2 blocks'", "optimizer.lr=0.1"])
    uninterrupted = train(recipe, tmp_path / "uninterrupted")
    run = train(recipe, tmp_path / "runs", stop_at([3]))
    assert_equal_runs(resume(run), uninterrupted)


def test_a_diverged_step_is_undone(
    tiny: Path, tmp_path: Path, frozen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = SelfClassifierLoss.forward

    def forward_with_nan(self: SelfClassifierLoss, views: ViewOutputs) -> LossOutput:
        output = forward(self, views)
        return LossOutput(output.total * (math.nan if views.step == 3 else 1.0), output.terms)

    monkeypatch.setattr(SelfClassifierLoss, "forward", forward_with_nan)
    with pytest.raises(TrainingError, match=r"training diverged in step 4 .*loss is nan"):
        train(load_recipe(tiny, [*frozen, *NEIGHBOURS, "train.checkpoint_every=3 steps"]), tmp_path / "runs")
    (run,) = all_runs(tmp_path / "runs")
    assert run.status.state == "failed"


def test_features_that_are_all_the_same_are_reported(tiny: Path, tmp_path: Path, finished_run: Path) -> None:
    constant = load_file(finished_run / "backbone.safetensors")
    constant["layers.4.1.weight"].zero_()
    constant["layers.4.1.bias"].fill_(1)
    save_file(constant, tmp_path / "constant.safetensors")
    settings = [f"backbone={{use='convnet', weights='{tmp_path}/constant.safetensors', train='none'}}"]
    reporter = RecordingReporter()
    train(load_recipe(tiny, [*settings, "monitor.collapse='warn'"]), tmp_path / "runs", reporter)
    assert any("features of different images are the same" in note for note in reporter.notes)


def test_a_dry_run(tiny: Path, frozen: list[str]) -> None:
    result = dry_run(load_recipe(tiny, [*frozen, *NEIGHBOURS]), Reporter())
    assert result["views"] == [[2, 256, 128]]
    assert result["outputs"]["features"] == [512, 128]
    assert math.isfinite(result["loss"])


def test_a_benchmark(tiny: Path, frozen: list[str]) -> None:
    result = bench(load_recipe(tiny, [*frozen, *NEIGHBOURS]), rounds=1, seconds=0.02)
    assert result["ratio"] > 0
    assert result["protocol"]["ceiling"].startswith("forward and backward pass of heads and losses")


def test_a_run_continues_a_frozen_run(tiny: Path, tmp_path: Path, frozen: list[str]) -> None:
    parent = train(load_recipe(tiny, [*frozen, *NEIGHBOURS]), tmp_path / "runs")
    settings = [*NEIGHBOURS, "backbone={use='convnet', train='none'}", "train.epochs=1", "optimizer.lr=1e-12"]
    reporter = RecordingReporter()
    child = train(load_recipe(tiny, settings), tmp_path / "runs", reporter, parent=parent)
    assert list(differences(load_file(child.backbone), load_file(parent.backbone))) == []
    trained, start = load_file(child.heads), load_file(parent.heads)
    for name, value in start.items():
        torch.testing.assert_close(trained[name], value, rtol=0, atol=1e-6)
    assert any(
        note.startswith(f"continues from {parent.name}: backbone and heads are loaded") for note in reporter.notes
    )
    assert json.loads(child.provenance.read_text())["continued_from"]["steps"] == 10


def test_a_frozen_run_continues_with_the_backbone_trained(tiny: Path, tmp_path: Path, frozen: list[str]) -> None:
    parent = train(load_recipe(tiny, [*frozen, *NEIGHBOURS]), tmp_path / "runs")
    recipe = load_recipe(tiny, ["backbone={use='convnet', train='last 1 block'}"])
    child = train(recipe, tmp_path / "runs", parent=parent)
    before, after = load_file(parent.backbone), load_file(child.backbone)
    assert {name.split(".")[1] for name in before if not torch.equal(before[name], after[name])} == {"4"}
