"""What a resume restores, and what it must not load twice or download again."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from recording_reporter import RecordingReporter

from sslkit.contracts.context import Context
from sslkit.data.loader import Loader
from sslkit.recipe.load import load_recipe
from sslkit.runs.weights_header import read_metadata
from sslkit.training import train as training
from sslkit.training.checkpoint.checkpoint_files import list_checkpoints
from sslkit.training.events import TrainingStarted
from sslkit.training.train import resume, train
from sslkit_backbones.convnet import ConvNet
from sslkit_selfcls.head import SelfClassifierHead
from sslkit_selfcls.loss import SelfClassifierLoss

SETTINGS = ["backbone.width=4", "train.checkpoint_every=1 steps"]


def test_an_extra_state_of_plain_values_is_restored(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at
) -> None:
    restored: list[object] = []
    monkeypatch.setattr(SelfClassifierLoss, "get_extra_state", lambda self: {"steps": 3}, raising=False)
    monkeypatch.setattr(
        SelfClassifierLoss, "set_extra_state", lambda self, state: restored.append(state), raising=False
    )
    run = train(load_recipe(tiny, SETTINGS), tmp_path / "runs", stop_at([2]))
    assert resume(run).status.state == "finished"
    assert {"steps": 3} in restored


def test_a_resumed_run_holds_no_second_copy_of_its_checkpoint(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at
) -> None:
    run = train(load_recipe(tiny, SETTINGS), tmp_path / "runs", stop_at([2]))
    references: list[weakref.ref[torch.Tensor]] = []
    load_checkpoint = training.load_checkpoint

    def watched(path: Path) -> dict[str, Any]:
        content = load_checkpoint(path)
        references.append(weakref.ref(next(iter(content["state_dict"].values()))))
        return content

    def check_released(event: TrainingStarted) -> None:
        assert [reference() is None for reference in references] == [True]

    monkeypatch.setattr(training, "load_checkpoint", watched)
    assert resume(run, RecordingReporter(TrainingStarted, check_released)).status.state == "finished"


def test_a_data_error_on_resume_is_not_blamed_on_the_checkpoint(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at
) -> None:
    run = train(load_recipe(tiny, SETTINGS), tmp_path / "runs", stop_at([2]))
    monkeypatch.setattr(Loader, "_batches", lambda self: iter({}["a key of the store"]))
    with pytest.raises(KeyError, match="a key of the store"):
        resume(run)
    assert run.status.state == "failed"
    assert [checkpoint.step for checkpoint in list_checkpoints(run.checkpoints)] == [2, 1]


def test_components_learn_whether_their_weights_will_be_restored(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at
) -> None:
    """A run that continues a finished run loads only backbone and heads; a loss must download its own weights."""
    restoring: dict[type, list[bool]] = {}
    for component in (ConvNet, SelfClassifierHead, SelfClassifierLoss):

        def recording_init(
            self: Any, options: Any, context: Context, *rest: Any, original: Any = component.__init__
        ) -> None:
            restoring.setdefault(type(self), []).append(context.restoring)
            original(self, options, context, *rest)

        monkeypatch.setattr(component, "__init__", recording_init)
    run = resume(train(load_recipe(tiny, SETTINGS), tmp_path / "runs", stop_at([2])))
    train(load_recipe(tiny, SETTINGS), tmp_path / "runs", parent=run)
    assert restoring == {
        ConvNet: [False, True, True],
        SelfClassifierHead: [False, True, True],
        SelfClassifierLoss: [False, True, False],
    }
    assert "restoring" not in read_metadata(run.backbone)["context"]
