"""Dry runs, and steps that need too much memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sslkit.errors import RecipeError
from sslkit.recipe.load import load_recipe
from sslkit.training.dry_run import dry_run
from sslkit.training.events import Reporter
from sslkit.training.learner import Learner
from sslkit.training.train import train
from sslkit_backbones.convnet import ConvNet


def run_dry(recipe: Any, folder: Path) -> None:
    dry_run(recipe, Reporter())


def run_training(recipe: Any, folder: Path) -> None:
    train(recipe, folder / "runs")


@pytest.mark.parametrize(("command", "what"), [(run_dry, "a step"), (run_training, "step 1")])
def test_a_step_that_needs_too_much_memory_is_an_error_of_the_batch_size(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., None], what: str
) -> None:
    monkeypatch.setattr(Learner, "make_views", lambda *args, **options: torch.empty(2**60))
    with pytest.raises(RecipeError) as error:
        command(load_recipe(tiny), tmp_path)
    line = tiny.read_text().splitlines().index("batch_size = 256") + 1
    message = str(error.value.problems[0])
    assert message.startswith(f"{tiny}:{line}: train.batch_size: {what} needs more memory than is available (")
    assert message.endswith(" (make it smaller)")


def test_the_backbone_runs_with_gradients_only_in_the_step(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = ConvNet.forward
    passes: list[tuple[int, bool]] = []

    def record_pass(self: ConvNet, images: torch.Tensor) -> torch.Tensor:
        passes.append((len(images), torch.is_grad_enabled()))
        return forward(self, images)

    monkeypatch.setattr(ConvNet, "forward", record_pass)
    assert dry_run(load_recipe(tiny), Reporter())["outputs"]["features"][0] == 512
    assert passes == [(512, False), (512, True)]
