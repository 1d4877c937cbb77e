"""Settings of the paper recipes that the papers do not state, taken from the authors' code."""

from __future__ import annotations

from pathlib import Path

import pytest

from sslkit.recipe.load import load_recipe

PAPER = Path(__file__).parents[2] / "recipes" / "paper"


@pytest.mark.parametrize("name", ["selfcls-resnet18-1-hidden", "selfcls-resnet18-2-hidden", "selfcls-alexnet"])
def test_self_classifier_follows_its_authors(name: str) -> None:
    recipe = load_recipe(PAPER / f"{name}.toml").resolved()
    views, optimizer = recipe["views"], recipe["optimizer"]
    assert views["local_crops"] == 0
    assert views["global_scale"] == [0.14, 1.0], "the authors' recommendation without local crops"
    assert optimizer["exclude_bias_and_norm"] is False
    assert (optimizer["trust_coefficient"], optimizer["clip"]) == (0.001, False)
    assert optimizer["lr"] == pytest.approx(0.3 * 64 / 256)
    assert optimizer["final_lr"] == pytest.approx(0.0003 * 64 / 256)


@pytest.mark.parametrize(("name", "jitter_p"), [("swav-augmentation-1", 1.0), ("swav-augmentation-2", 0.0)])
def test_swav_follows_report_b(name: str, jitter_p: float) -> None:
    views = load_recipe(PAPER / f"{name}.toml").resolved()["views"]
    assert (views["flip_p"], views["jitter_p"]) == (0.5, jitter_p)
