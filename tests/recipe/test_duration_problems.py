"""Durations as percentages of the training, and durations that are longer than the training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from shipped_recipes import RECIPES, SHIPPED

from sslkit.assembly.assemble import assemble
from sslkit.contracts.duration import count_epochs, count_whole_epochs, duration_steps
from sslkit.errors import RecipeError
from sslkit.recipe.load import load_recipe

FIXED = """
[[head]]
name = "late"
use = "swav"
freeze_prototypes = "14 epochs"

[[loss]]
name = "early"
use = "swav"

[[loss]]
name = "late"
use = "swav"
start_epoch = 28

[optimizer]
warmup_epochs = 7.5
"""


@pytest.fixture
def fixed(tiny: Path) -> Path:
    """Return a recipe of 56 epochs whose durations are absolute."""
    text = tiny.read_text().replace("epochs = 2\n", "epochs = 56\n")
    start, end = text.index("[head]"), text.index("[optimizer]\n") + len("[optimizer]\n")
    tiny.write_text(text[:start] + FIXED.lstrip() + text[end:])
    return tiny


def problems(path: Path, *settings: str) -> list[str]:
    with pytest.raises(RecipeError) as error:
        load_recipe(path, settings)
    return [str(problem).removeprefix(f"{path}:") for problem in error.value.problems]


def test_all_durations_that_are_too_long_are_reported_with_their_share(fixed: Path) -> None:
    lines = {text.split()[0]: number for number, text in enumerate(fixed.read_text().splitlines(), 1) if text}
    assert problems(fixed, "train.epochs=7") == [
        f"{lines['freeze_prototypes']}: head.0.freeze_prototypes: "
        '"14 epochs" is longer than the training of 7 epochs '
        '(write "25%", its share of 56 epochs, or at most 7 epochs)',
        f"{lines['start_epoch']}: loss.1.start_epoch: "
        "this loss never starts: the training ends after 7 epochs, found 28 epochs "
        '(write "50%", its share of 56 epochs, or less than 7 epochs)',
        f"{lines['warmup_epochs']}: optimizer.warmup_epochs: "
        "7.5 epochs is longer than the training of 7 epochs "
        '(write "13.4%", its share of 56 epochs, or at most 7 epochs)',
    ]
    shares = ["head.late.freeze_prototypes=25%", "loss.late.start_epoch=50%", "optimizer.warmup_epochs=13.4%"]
    assert load_recipe(fixed, ["train.epochs=7", *shares]).losses[1].wiring.start_epoch == "50%"


def test_without_other_epochs_a_percentage_is_suggested(tiny: Path) -> None:
    (problem,) = problems(tiny, "optimizer.warmup_epochs=3")
    assert problem.endswith('(write a percentage of the training, such as "10%", or at most 2 epochs)')


def test_steps_are_compared_when_their_number_is_known(fixed: Path) -> None:
    settings = ["train.epochs=29", "head.late.freeze_prototypes=146 steps"]
    with pytest.raises(RecipeError, match='"146 steps" is longer than the training of 145 steps'):
        assemble(load_recipe(fixed, settings))  # five steps per epoch


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("loss.late.start_epoch=0.5", 'must be a whole number of epochs, such as 10, or a percentage of the training'),
        ("loss.late.start_epoch=140%", 'a percentage of the training, such as "40%", found "140%"'),
        ("loss.late.start_epoch=true", "must be a whole number of epochs"),
        ("optimizer.warmup_epochs=-1", 'must be a number of epochs, such as 0.5, or a percentage of the training'),
        ("monitor.every_epochs=1 epochs", "must be a whole number of epochs"),
        ("train.checkpoint_every=0%", '"500 steps", "2 epochs", "10 minutes" or "10%"'),
        ("head.late.freeze_prototypes=4 minutes", 'must be a duration, such as "2 epochs", "300 steps" or "10%"'),
    ],
)  # fmt: skip
def test_other_values_are_refused_with_an_example(fixed: Path, setting: str, message: str) -> None:
    (problem,) = problems(fixed, setting)
    assert message in problem


def test_percentages_are_exact_and_whole_epochs_are_rounded_down() -> None:
    assert [count_whole_epochs(share, 100) for share in ("29%", "57%", "0%", 7)] == [29, 57, 0, 7]
    assert [count_whole_epochs("50%", epochs) for epochs in (1, 2, 31)] == [0, 1, 15]
    assert (count_epochs("12.5 %", 4), count_epochs(1.5, 4)) == (0.5, 1.5)
    context = SimpleNamespace(steps_per_epoch=10, total_steps=40)
    steps = {"2 epochs": 20, "1 epoch": 10, "0.25 epochs": 2, "7 steps": 7, "10%": 4, "100 %": 40}
    assert {text: duration_steps(text, context) for text in steps} == steps


@pytest.mark.parametrize("name", SHIPPED)
def test_the_number_of_epochs_alone_shortens_a_recipe(name: str) -> None:
    whole = load_recipe(RECIPES / f"{name}.toml")
    for epochs in {1, 2, 3, max(1, whole.train.epochs // 3), whole.train.epochs - 1} - {0}:
        recipe = load_recipe(RECIPES / f"{name}.toml", [f"train.epochs={epochs}"])
        context = SimpleNamespace(steps_per_epoch=100, total_steps=100 * epochs)
        starts = [count_whole_epochs(loss.wiring.start_epoch, epochs) for loss in recipe.losses] or [0]
        assert min(starts) == 0
        assert max(starts) < epochs
        assert count_epochs(recipe.optimizer.options.warmup_epochs, epochs) <= epochs / 2
        for head in recipe.heads:
            frozen = getattr(head.options, "freeze_prototypes", "0 epochs")
            assert duration_steps(frozen, context) <= context.total_steps / 4
