"""Dry runs, and steps that need too much memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from recording_reporter import RecordingReporter

from sslkit.errors import RecipeError, RunError
from sslkit.recipe.load import load_recipe
from sslkit.runs.run import Run
from sslkit.training.dry_run import dry_run
from sslkit.training.events import Reporter
from sslkit.training.step.training_step import ViewMaker
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
    monkeypatch.setattr(ViewMaker, "__call__", lambda *args, **options: torch.empty(2**60))
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


def test_parameters_of_the_method_alone_are_counted(tiny: Path) -> None:
    settings = ["head={use='projection', hidden_dim=16, embedding_dim=8}", "loss={use='byol'}"]
    teacher = dry_run(load_recipe(tiny, [*settings, "method.use='momentum-teacher'"]), Reporter())["modules"]
    assert teacher["method"] == teacher["backbone"] + teacher["head projection"] > 0
    assert dry_run(load_recipe(tiny), Reporter())["modules"]["method"] == 0


def test_a_dry_run_starts_from_the_weights_of_a_finished_run(tiny: Path, finished_run: Path) -> None:
    reporter = RecordingReporter()
    recipe = load_recipe(tiny, ["backbone.width=32"])
    fresh, continued = (dry_run(recipe, reporter, parent) for parent in (None, Run(finished_run)))
    assert continued["loss"] < fresh["loss"] - 0.01
    assert continued["modules"] == fresh["modules"]
    (note,) = (note for note in reporter.notes if note.startswith("continues from "))
    assert "backbone and heads are loaded" in note
    with pytest.raises(RunError, match="cannot be used"):
        dry_run(load_recipe(tiny, ["backbone.width=8"]), reporter, Run(finished_run))
