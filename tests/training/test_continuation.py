"""Runs that continue from a finished one: its weights, other batches and views."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from notes import Notes
from safetensors.torch import load_file

from sslkit.assembly.assemble import assemble
from sslkit.device.hardware import choose
from sslkit.errors import RunError
from sslkit.recipe.check import load_recipe
from sslkit.training.events import Reporter
from sslkit.training.learner import Learner
from sslkit.training.train import resume, train


def test_a_new_run_continues_from_a_finished_one(tiny: Path, tmp_path: Path) -> None:
    parent = train(load_recipe(tiny, ["train.epochs=1"]), tmp_path)
    # So small a learning rate that the child is its parent, within rounding.
    child = train(load_recipe(tiny, ["train.epochs=1", "optimizer.lr=1e-12"]), tmp_path, parent=parent)
    before, after = load_file(parent.backbone), load_file(child.backbone)
    for name, value in before.items():
        if "running" not in name and "num_batches" not in name:
            assert (after[name] - value).abs().max() < 1e-6
    assert json.loads(child.provenance.read_text())["continued_from"] == {"run": parent.name, "steps": 5, "epochs": 1}
    assert "continued_from" not in json.loads(parent.provenance.read_text())
    with pytest.raises(RunError, match="cannot be used: Error"):
        train(load_recipe(tiny, ["backbone.width=8"]), tmp_path, parent=parent)


def test_a_continuation_sees_other_batches_and_views(tiny: Path) -> None:
    fresh, going_on = assemble(load_recipe(tiny)), assemble(load_recipe(tiny), steps_before=5)
    assert fresh.context.steps_per_epoch == 5
    assert torch.equal(going_on.loader.order(0), fresh.loader.order(1))
    images = fresh.images.gather(torch.arange(fresh.context.batch_size))
    hardware = choose("cpu", "float32")
    (first,), (other,) = (Learner(each, hardware).make_views(images, 0) for each in (fresh, going_on))
    (later,) = Learner(fresh, hardware).make_views(images, 5)
    assert not torch.equal(other, first)
    assert torch.equal(other, later)


def test_a_continuation_knows_all_steps_before_it_and_resumes_to_the_same_bits(
    tiny: Path, tmp_path: Path, stop_at: type[Reporter]
) -> None:
    parent = train(load_recipe(tiny, ["train.epochs=1"]), tmp_path)
    settings = ["train.epochs=2", 'train.checkpoint_every="3 steps"']
    whole = train(load_recipe(tiny, settings), tmp_path / "whole", parent=parent)
    cut = train(load_recipe(tiny, settings), tmp_path / "cut", stop_at([7]), parent=parent)
    assert cut.status.state == "interrupted"
    ours, theirs = load_file(resume(cut).backbone), load_file(whole.backbone)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    grandchild = train(load_recipe(tiny, ["train.epochs=1"]), tmp_path, parent=cut)
    assert json.loads(grandchild.provenance.read_text())["continued_from"] == {
        "run": cut.name,
        "steps": 5 + 10,
        "epochs": 1 + 2,
    }


def test_what_begins_anew_is_told(tiny: Path, tmp_path: Path) -> None:
    settings = [
        "train.epochs=1",
        'head={use="swav", prototypes=[10], hidden_dim=8}',
        'loss={use="swav", queue_size=256}',
    ]
    parent, notes = train(load_recipe(tiny, settings), tmp_path), Notes()
    train(load_recipe(tiny, settings), tmp_path, notes, parent=parent)
    told = "backbone and heads are taken over, optimizer, schedule and loss 'swav' begin anew"
    assert f"continues from {parent.name}: {told}" in notes.notes
