from __future__ import annotations

import json
from pathlib import Path

import pytest

from sslkit.recipe.check import load_recipe
from sslkit.training.train import train


@pytest.fixture(scope="module")
def trained(tiny_text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.toml").write_text(tiny_text)
    return train(load_recipe(folder / "tiny.toml"), folder / "runs").path


def test_several_evaluations_in_one_table_and_one_json(cli, trained: Path) -> None:
    asked = ("--linear", "--knn", "--fractions", "0.1,1", "--seeds", "2", "--baseline", "random")
    asked += ("--set", "linear.folds=3")
    done = cli("eval", trained, *asked, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result) == {"run", "linear", "knn", "protocol", "baselines"}
    assert set(result["baselines"]) == {"linear_random_weights", "knn_random_weights"}
    assert result["protocol"]["linear"]["folds"] == 3
    assert result["protocol"]["linear"]["images"] == 359
    for figures in (result["linear"], result["baselines"]["linear_random_weights"]):
        few = figures["fractions"]["0.1"]
        assert 0.3 < few["top1"] < figures["top1"] < 1
        assert few["top1_std"] > 0
    assert result["knn"]["top5"] >= result["knn"]["top1"] > 0.8
    assert result["knn"] != result["baselines"]["knn_random_weights"]
    (kept,) = (trained / "evaluations").glob("*.json")
    assert json.loads(kept.read_text()) == result

    table = cli("eval", trained, *asked).stdout
    assert "linear, 10 %" in table
    assert "random weights, 10 %" in table
    assert f"{result['knn']['top1']:.3f}" in table
    spread = result["linear"]["fractions"]["0.1"]
    assert f"{spread['top1']:.3f} ± {spread['top1_std']:.3f}" in table
    assert "penalty_chosen_on: validation" in table


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fractions", "0.1"], "--fractions and --seeds need an evaluation that trains: --linear or --finetune"),
        (["--linear", "--fractions", "a"], "--fractions takes numbers with commas between, such as 0.01,0.1, not 'a'"),
        (
            ["--linear", "--fractions", "0,1.5"],
            "2 problems in the evaluation's options\n"
            "  sslkit eval: linear.fractions.0: should be greater than 0, found 0.0\n"
            "  sslkit eval: linear.fractions.1: should be less than or equal to 1, found 1.5",
        ),
        (
            ["--linear", "--set", "linear.fold=3", "--set", "knn.temperature=1"],
            "2 problems in the evaluation's options\n"
            "  --set knn.temperature=1: knn: this evaluation was not asked for (there are linear)\n"
            "  --set linear.fold=3: linear.fold: unknown option (did you mean 'folds'?)",
        ),
        (["--use", "liner"], "no installed evaluator is called 'liner': did you mean 'linear'?"),
        (["--linear", "--device", "cuda"], 'device "cuda": there is none here; use cpu or "auto"'),
    ],
    ids=["fractions without", "no number", "out of range", "options", "name", "device"],
)
def test_a_mistake_is_said_before_anything_is_computed(cli, trained: Path, arguments: list[str], said: str) -> None:
    kept = len(list((trained / "evaluations").iterdir()))
    done = cli("eval", trained, *arguments, COLUMNS="300")
    assert done.returncode == 2
    assert said in done.stderr
    assert len(list((trained / "evaluations").iterdir())) == kept
