"""Losses that start in a later epoch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from equal_runs import assert_equal_runs, metric_rows

from sslkit.errors import RecipeError
from sslkit.recipe.load import load_recipe
from sslkit.training.checkpoint.checkpoint_files import load_checkpoint
from sslkit.training.train import resume, train

LATE_LOSS = """
[[head]]
name = "late"
use = "selfcls-mlp"
hidden_dims = []
classifiers = [10, 4]

[[head]]
name = "early"
use = "selfcls-mlp"
hidden_dims = []
classifiers = [20]

[[loss]]
name = "late"
use = "selfcls"
head = "late"
start_epoch = 1

[[loss]]
name = "early"
use = "selfcls"
head = "early"

[optimizer]
"""


@pytest.fixture
def two_losses(tiny: Path) -> Path:
    text = tiny.read_text()
    head, optimizer = text.index("[head]"), text.index("[optimizer]\n") + len("[optimizer]\n")
    tiny.write_text(f'{text[:head]}{LATE_LOSS}{text[optimizer:]}\n[evaluation]\nclassifier = "lowest-loss"\n')
    return tiny


def test_a_head_is_untrained_until_its_loss_starts_also_when_resumed(two_losses: Path, tmp_path: Path, stop_at) -> None:
    recipe = load_recipe(two_losses)
    uninterrupted = train(recipe, tmp_path / "uninterrupted")
    # Five steps per epoch: stop after the last step without the new loss, and after the first step with it.
    run = train(recipe, tmp_path / "interrupted", stop_at([5]))
    before = load_checkpoint(run.last_checkpoint)["state_dict"]
    untrained = {name: value for name, value in before.items() if name.startswith("method.head_modules.0.")}
    run = resume(run, stop_at([6]))
    after = load_checkpoint(run.last_checkpoint)["state_dict"]
    trained = [name for name in untrained if not torch.equal(untrained[name], after[name])]
    assert sorted(name.rsplit(".", 2)[-2] + "." + name.rsplit(".", 1)[-1] for name in trained) == [
        "0.bias", "0.weight", "directions.0", "directions.1", "gains.0", "gains.1",
    ]  # fmt: skip
    run = resume(run)
    assert_equal_runs(run, uninterrupted)

    rows = metric_rows(run)
    assert min(row.step for row in rows if row.metric == "late") > 5
    assert min(row.step for row in rows if row.metric == "early") <= 5
    # An untrained classifier is not measured, and ln K is not comparable with a sum of losses.
    assert [row.step for row in rows if row.metric == "monitor/acc"] == [10]
    assert [row.step for row in rows if row.metric == "monitor/knn"] == [0, 5, 10]
    assert not any(row.metric == "monitor/ln_k" for row in rows)
    # The sum of two losses is larger than the first loss, so the search for the best checkpoint restarts.
    assert load_checkpoint(run.checkpoints / "best.ckpt")["global_step"] == 10


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["loss.late.start_epoch=2"], "loss.0.start_epoch: this loss never starts: the training ends after 2 epochs"),
        (
            ["loss.late.start_epoch=100%"],
            "loss.0.start_epoch: this loss never starts: the training ends after 2 epochs",
        ),
        (
            ["loss.early.start_epoch=1"],
            "loss: no loss is active in the first epoch: leave start_epoch of one loss at 0",
        ),
    ],
)
def test_an_impossible_start_epoch_is_refused(
    two_losses: Path, tmp_path: Path, settings: list[str], message: str
) -> None:
    with pytest.raises(RecipeError) as error:
        train(load_recipe(two_losses, settings), tmp_path)
    assert message in str(error.value)
