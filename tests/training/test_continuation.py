"""Runs that continue a finished run start from its weights, with different batches and views."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from equal_runs import assert_equal_runs
from recording_reporter import RecordingReporter
from safetensors.torch import load_file

from sslkit.assembly.assemble import assemble
from sslkit.assembly.start import Start
from sslkit.data.loader import ImageBatch
from sslkit.device.hardware import choose_hardware
from sslkit.errors import RecipeError, RunError
from sslkit.recipe.load import load_recipe
from sslkit.runs.provenance_file import read_provenance
from sslkit.runs.weights import hash_state
from sslkit.runs.weights_header import read_metadata
from sslkit.trained.backbone import load_backbone
from sslkit.training.learner import Learner
from sslkit.training.train import resume, train


def test_a_new_run_continues_from_a_finished_one(tiny: Path, tmp_path: Path) -> None:
    parent = train(load_recipe(tiny, ["train.epochs=1"]), tmp_path)
    # With this tiny learning rate, the new run equals the finished run within rounding errors.
    child = train(load_recipe(tiny, ["train.epochs=1", "optimizer.lr=1e-12"]), tmp_path, parent=parent)
    before, after = load_file(parent.backbone), load_file(child.backbone)
    for name, value in before.items():
        if "running" not in name and "num_batches" not in name:
            assert (after[name] - value).abs().max() < 1e-6
    assert json.loads(child.provenance.read_text())["continued_from"] == {"run": parent.name, "steps": 5, "epochs": 1}
    assert "continued_from" not in json.loads(parent.provenance.read_text())
    with pytest.raises(RunError, match=r"cannot be used: Error.*(size mismatch|key\(s\))"):
        train(load_recipe(tiny, ["backbone.width=8"]), tmp_path, parent=parent)


def test_a_continued_run_has_other_batches_and_views(tiny: Path) -> None:
    fresh = assemble(load_recipe(tiny))
    continued = assemble(load_recipe(tiny), start=Start(steps_before=5, epochs_before=1))
    assert fresh.context.steps_per_epoch == 5
    assert fresh.context.training_images == len(fresh.images)
    assert torch.equal(continued.loader.order(0), fresh.loader.order(1))
    index = torch.arange(fresh.context.batch_size)
    batch = ImageBatch(index)
    hardware = choose_hardware("cpu", "float32")
    (first,), (other,) = (Learner(each, hardware).make_views(batch, 0) for each in (fresh, continued))
    (later,) = Learner(fresh, hardware).make_views(batch, 5)
    assert not torch.equal(other, first)
    assert torch.equal(other, later)


def test_a_continued_run_counts_all_earlier_steps_and_resumes_to_the_same_bits(
    tiny: Path, tmp_path: Path, stop_at
) -> None:
    parent = train(load_recipe(tiny, ["train.epochs=1"]), tmp_path)
    settings = ["train.epochs=2", 'train.checkpoint_every="3 steps"']
    uninterrupted = train(load_recipe(tiny, settings), tmp_path / "uninterrupted", parent=parent)
    run = train(load_recipe(tiny, settings), tmp_path / "interrupted", stop_at([7]), parent=parent)
    assert run.status.state == "interrupted"
    assert_equal_runs(resume(run), uninterrupted)
    # A resume keeps the checksum of the weights that training started from.
    backbone = load_backbone(parent.path).backbone
    assert read_provenance(run)["initial_backbone_sha256"] == hash_state(backbone)
    grandchild = train(load_recipe(tiny, ["train.epochs=1"]), tmp_path, parent=run)
    assert json.loads(grandchild.provenance.read_text())["continued_from"] == {
        "run": run.name,
        "steps": 5 + 10,
        "epochs": 1 + 2,
    }


def test_a_continued_run_keeps_the_classifier_of_its_parent(tiny: Path, tmp_path: Path, stop_at) -> None:
    settings = ["train.epochs=1", "head.classifiers=[5, 5, 5]"]
    parent = train(load_recipe(tiny, [*settings, "evaluation.classifier=2"]), tmp_path)
    recipe = load_recipe(tiny, [*settings, "evaluation.classifier=parent"])
    child = train(recipe, tmp_path, stop_at([3]), parent=parent)
    assert load_recipe(child.recipe).evaluation.classifier == 2  # a resume does not need the parent
    shutil.rmtree(parent.path)
    assert read_metadata(resume(child).heads)["classifier"] == 2
    with pytest.raises(RecipeError, match=r"evaluation.classifier: this run continues no other run: use --continue"):
        train(recipe, tmp_path)


def test_the_classifier_of_the_parent_is_in_the_head_of_the_parent(tiny: Path, tmp_path: Path) -> None:
    heads = ["coarse", "fine"]
    head = ", ".join(f"{{name='{name}', use='selfcls-mlp', hidden_dims=[8], classifiers=[4, 4]}}" for name in heads)
    loss = ", ".join(f"{{name='{name}', use='selfcls', head='{name}'}}" for name in heads)
    settings = ["train.epochs=1", f"head=[{head}]", f"loss=[{loss}]"]
    parent = train(load_recipe(tiny, [*settings, "evaluation={head='fine', classifier=1}"]), tmp_path)
    child = train(load_recipe(tiny, [*settings, "evaluation.classifier=parent"]), tmp_path, parent=parent)
    metadata = read_metadata(child.heads)
    assert (metadata["head"], metadata["classifier"]) == ("fine", 1)
    other = load_recipe(tiny, [*settings, "evaluation={head='coarse', classifier='parent'}"])
    with pytest.raises(RecipeError, match=r"evaluation.head: .* has its classifier in the head 'fine'"):
        train(other, tmp_path, parent=parent)


def test_parts_that_start_fresh_are_reported(tiny: Path, tmp_path: Path) -> None:
    settings = [
        "train.epochs=1",
        'head={use="swav", prototypes=[10], hidden_dim=8}',
        'loss={use="swav", queue_size=256}',
    ]
    parent, reporter = train(load_recipe(tiny, settings), tmp_path), RecordingReporter()
    train(load_recipe(tiny, settings), tmp_path, reporter, parent=parent)
    transfer = "backbone and heads are loaded, optimizer, schedule and loss 'swav' start fresh"
    assert f"continues from {parent.name}: {transfer}" in reporter.notes
