from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sslkit.errors import RecipeError
from sslkit.recipe.check import load_recipe
from sslkit.training.dry_run import dry_run
from sslkit.training.events import Reporter
from sslkit.training.learner import Learner
from sslkit.training.train import train
from sslkit_backbones.convnet import ConvNet


def try_out(recipe: Any, folder: Path) -> None:
    dry_run(recipe, Reporter())


def train_it(recipe: Any, folder: Path) -> None:
    train(recipe, folder / "runs")


@pytest.mark.parametrize(("command", "what"), [(try_out, "a step"), (train_it, "step 1")])
def test_a_step_that_needs_more_memory_than_there_is_names_the_batch(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., None], what: str
) -> None:
    monkeypatch.setattr(Learner, "make_views", lambda *args, **options: torch.empty(2**60))
    with pytest.raises(RecipeError) as error:
        command(load_recipe(tiny), tmp_path)
    line = tiny.read_text().splitlines().index("batch_size = 256") + 1
    found = str(error.value.problems[0])
    assert found.startswith(f"{tiny}:{line}: train.batch_size: {what} needs more memory than there is (")
    assert found.endswith(" (make it smaller)")


def test_only_the_step_itself_keeps_what_a_backward_pass_needs(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = ConvNet.forward
    passes: list[tuple[int, bool]] = []

    def watched(self: ConvNet, images: torch.Tensor) -> torch.Tensor:
        passes.append((len(images), torch.is_grad_enabled()))
        return honest(self, images)

    monkeypatch.setattr(ConvNet, "forward", watched)
    assert dry_run(load_recipe(tiny), Reporter())["outputs"]["features"][0] == 512
    assert passes == [(512, False), (512, True)]
