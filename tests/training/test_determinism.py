from __future__ import annotations

from pathlib import Path

import pytest
import torch
from notes import Notes
from torch.nn import functional

from sslkit.contracts.loss import LossOutput, ViewOutputs
from sslkit.recipe.check import load_recipe
from sslkit.training.train import train
from sslkit_selfcls.loss import SelfClassifierLoss


def test_operations_that_cannot_be_deterministic_are_told_once(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, told = SelfClassifierLoss.forward, Notes()

    def unpools(self: SelfClassifierLoss, views: ViewOutputs) -> LossOutput:
        functional.max_unpool2d(torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1, dtype=torch.int64), 2)
        return honest(self, views)

    monkeypatch.setattr(SelfClassifierLoss, "forward", unpools)
    small = ["backbone.width=4", "train.batch_size=700", "train.epochs=1", "monitor.every_epochs=0"]
    train(load_recipe(tiny, [*small, "run.deterministic=true"]), tmp_path / "runs", told)
    assert [note for note in told.notes if "deterministic" in note] == [
        "warning: run.deterministic: max_unpooling2d_forward_out has no deterministic implementation on this device: "
        "repetitions may end in other bits"
    ]
    assert not torch.are_deterministic_algorithms_enabled()
