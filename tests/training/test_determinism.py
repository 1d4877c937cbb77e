"""Notes on operations without a deterministic implementation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from recording_reporter import RecordingReporter
from torch.nn import functional

from sslkit.contracts.loss import LossOutput, ViewOutputs
from sslkit.recipe.load import load_recipe
from sslkit.training.train import train
from sslkit_selfcls.loss import SelfClassifierLoss


def test_each_nondeterministic_operation_is_reported_once(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, reporter = SelfClassifierLoss.forward, RecordingReporter()

    def forward_with_unpooling(self: SelfClassifierLoss, views: ViewOutputs) -> LossOutput:
        functional.max_unpool2d(torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1, dtype=torch.int64), 2)
        return forward(self, views)

    monkeypatch.setattr(SelfClassifierLoss, "forward", forward_with_unpooling)
    small = ["backbone.width=4", "train.batch_size=700", "train.epochs=1", "monitor.every_epochs=0"]
    train(load_recipe(tiny, [*small, "run.deterministic=true"]), tmp_path / "runs", reporter)
    (note,) = [note for note in reporter.notes if "run.deterministic" in note]
    assert note.startswith(
        "warning: run.deterministic: max_unpooling2d_forward_out has no deterministic implementation"
    )
    assert not torch.are_deterministic_algorithms_enabled()
