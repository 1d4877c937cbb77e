"""What a resume takes up, and what it leaves alone."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from sslkit.contracts.context import Context
from sslkit.data.loader import Loader
from sslkit.recipe.check import load_recipe
from sslkit.runs.weights import read_metadata
from sslkit.training import train as training
from sslkit.training.checkpoint.files import saved
from sslkit.training.events import Progress, Reporter
from sslkit.training.train import resume, train
from sslkit_backbones.convnet import ConvNet
from sslkit_selfcls.head import SelfClassifierHead
from sslkit_selfcls.loss import SelfClassifierLoss

SMALL = ["backbone.width=4", "train.checkpoint_every=1 steps"]


def test_a_plain_state_is_kept_and_given_back(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at
) -> None:
    given: list[object] = []
    monkeypatch.setattr(SelfClassifierLoss, "get_extra_state", lambda self: {"steps": 3}, raising=False)
    monkeypatch.setattr(SelfClassifierLoss, "set_extra_state", lambda self, state: given.append(state), raising=False)
    run = train(load_recipe(tiny, SMALL), tmp_path / "runs", stop_at([2]))
    assert resume(run).status.state == "finished"
    assert {"steps": 3} in given


def test_a_resumed_run_holds_no_second_copy_of_its_checkpoint(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at
) -> None:
    run = train(load_recipe(tiny, SMALL), tmp_path / "runs", stop_at([2]))
    held: list[weakref.ref[torch.Tensor]] = []
    honest = training.load_checkpoint

    def watched(path: Path) -> dict[str, Any]:
        content = honest(path)
        held.append(weakref.ref(next(iter(content["state_dict"].values()))))
        return content

    class Looks(Reporter):
        def begin(self, progress: Progress) -> None:
            assert [reference() is None for reference in held] == [True]

    monkeypatch.setattr(training, "load_checkpoint", watched)
    assert resume(run, Looks()).status.state == "finished"


def test_data_that_fail_on_resume_are_not_blamed_on_the_checkpoint(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at
) -> None:
    run = train(load_recipe(tiny, SMALL), tmp_path / "runs", stop_at([2]))
    monkeypatch.setattr(Loader, "_batches", lambda self: iter({}["a key of the store"]))
    with pytest.raises(KeyError, match="a key of the store"):
        resume(run)
    assert run.status.state == "failed"
    assert [checkpoint.step for checkpoint in saved(run.checkpoints)] == [2, 1]


def test_what_is_restored_need_not_be_fetched(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at
) -> None:
    """A run that continues from another is given backbone and heads alone: a loss must fetch what it needs."""
    told: dict[type, list[bool]] = {}
    for kind in (ConvNet, SelfClassifierHead, SelfClassifierLoss):

        def spied(self: Any, options: Any, context: Context, *rest: Any, honest: Any = kind.__init__) -> None:
            told.setdefault(type(self), []).append(context.restoring)
            honest(self, options, context, *rest)

        monkeypatch.setattr(kind, "__init__", spied)
    run = resume(train(load_recipe(tiny, SMALL), tmp_path / "runs", stop_at([2])))
    train(load_recipe(tiny, SMALL), tmp_path / "runs", parent=run)
    assert told == {
        ConvNet: [False, True, True],
        SelfClassifierHead: [False, True, True],
        SelfClassifierLoss: [False, True, False],
    }
    assert "restoring" not in read_metadata(run.backbone)["context"]
