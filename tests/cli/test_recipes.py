from __future__ import annotations

import json
import tomllib
from pathlib import Path

RECIPES = sorted((Path(__file__).parents[2] / "recipes").rglob("*.toml"))


def test_every_recipe_of_the_repository_is_good(cli) -> None:
    assert len(RECIPES) == 16
    done = cli("recipes", "check", *RECIPES)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{path}: good" for path in RECIPES]


def test_check_goes_through_all_files_and_exits_2(cli, tiny: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("[train]\nepochs = 0\n")
    done = cli("recipes", "check", bad, tiny, "--json")
    assert done.returncode == 2
    first, second = json.loads(done.stdout)
    assert first["problems"][0] == {
        "message": "the section is missing",
        "key": "data",
        "source": str(bad),
        "line": 0,
        "hint": 'write [data] with use = "..."',
    }
    assert {problem["key"] for problem in first["problems"]} >= {"train.epochs", "train.batch_size", "views"}
    assert second == {"recipe": str(tiny), "problems": []}
    assert done.stderr == ""


def test_show_prints_the_resolved_recipe_and_notes_apart(cli, tiny: Path) -> None:
    done = cli("recipes", "show", tiny, "--set", "optimizer.use=sgd", "--set", "optimizer.momentum=0.5")
    assert done.returncode == 0
    shown = tomllib.loads(done.stdout)
    assert shown["optimizer"]["momentum"] == 0.5
    assert shown["optimizer"]["lr"] == 0.05
    assert done.stderr == "--set optimizer.use=sgd drops the options of 'adamw': lr\n"
    assert json.loads(cli("recipes", "show", tiny, "--json").stdout)["train"]["epochs"] == 2
