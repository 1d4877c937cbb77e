"""Losses that join the sum after some epochs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sslkit.errors import RecipeError
from sslkit.recipe.check import load_recipe
from sslkit.runs.metrics_file import read_history
from sslkit.training.checkpoint.files import load_checkpoint
from sslkit.training.train import resume, train

LATE = """
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
def staged(tiny: Path) -> Path:
    text = tiny.read_text()
    head, optimizer = text.index("[head]"), text.index("[optimizer]\n")
    tiny.write_text(
        text[:head] + LATE + text[optimizer + len("[optimizer]\n") :] + '\n[evaluation]\nclassifier = "lowest-loss"\n'
    )
    return tiny


def test_a_head_is_untrained_until_its_loss_joins_and_resume_crosses_the_start(
    staged: Path, tmp_path: Path, stop_at
) -> None:
    recipe = load_recipe(staged)
    whole = train(recipe, tmp_path / "whole")
    # Five steps an epoch: stopped on the last step before the start, on the first after it, and once more.
    run = train(recipe, tmp_path / "cut", stop_at([5]))
    before = load_checkpoint(run.last_checkpoint)["state_dict"]
    fresh = {name: value for name, value in before.items() if name.startswith("method.head_modules.0.")}
    run = resume(run, stop_at([6]))
    after = load_checkpoint(run.last_checkpoint)["state_dict"]
    trained = [name for name in fresh if not torch.equal(fresh[name], after[name])]
    assert sorted(name.rsplit(".", 2)[-2] + "." + name.rsplit(".", 1)[-1] for name in trained) == [
        "0.bias", "0.weight", "directions.0", "directions.1", "gains.0", "gains.1",
    ]  # fmt: skip
    run = resume(run)
    for file in ("backbone", "heads"):
        expected, found = load_file(getattr(whole, file)), load_file(getattr(run, file))
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[name], found[name]) for name in expected)

    rows = [row for row in read_history(run.metrics) if not row.metric.startswith("time/")]
    assert rows == [row for row in read_history(whole.metrics) if not row.metric.startswith("time/")]
    assert min(row.step for row in rows if row.metric == "late") > 5
    assert min(row.step for row in rows if row.metric == "early") <= 5
    # An untrained classifier is not measured, and a sum of losses not compared with ln K.
    assert [row.step for row in rows if row.metric == "monitor/acc"] == [10]
    assert [row.step for row in rows if row.metric == "monitor/knn"] == [0, 5, 10]
    assert not any(row.metric == "monitor/ln_k" for row in rows)
    # The sum of two losses is greater than the first alone, and yet its epoch counts as the best.
    assert load_checkpoint(run.checkpoints / "best.ckpt")["global_step"] == 10


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["loss.late.start_epoch=2"], "loss.0.start_epoch: this loss never joins: training ends after 2 epochs"),
        (["loss.early.start_epoch=1"], "loss: there must be a loss to begin with: leave start_epoch of one at 0"),
    ],
)
def test_a_start_that_cannot_be_is_refused(staged: Path, tmp_path: Path, settings: list[str], said: str) -> None:
    with pytest.raises(RecipeError) as error:
        train(load_recipe(staged, settings), tmp_path)
    assert said in str(error.value)
