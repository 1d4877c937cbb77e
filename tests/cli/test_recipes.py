from __future__ import annotations

import json
import tomllib
from pathlib import Path

from shipped_recipes import RECIPES, SHIPPED


def test_every_shipped_recipe_is_valid(cli) -> None:
    assert len(SHIPPED) == 52
    paths = [RECIPES / f"{name}.toml" for name in SHIPPED]
    done = cli("recipes", "check", *paths)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{path}: ok" for path in paths]


def test_check_reports_all_files_and_exits_2(cli, tiny: Path, tmp_path: Path) -> None:
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
        "hint": 'add [data] with use = "..."',
    }
    assert {problem["key"] for problem in first["problems"]} >= {"train.epochs", "train.batch_size", "views"}
    assert second == {"recipe": str(tiny), "problems": []}
    assert done.stderr == ""


def test_show_prints_the_resolved_recipe_on_stdout_and_notes_on_stderr(cli, tiny: Path) -> None:
    done = cli("recipes", "show", tiny, "--set", "optimizer.use=sgd", "--set", "optimizer.momentum=0.5")
    assert done.returncode == 0
    shown = tomllib.loads(done.stdout)
    assert shown["optimizer"]["momentum"] == 0.5
    assert shown["optimizer"]["lr"] == 0.05
    assert done.stderr == "--set optimizer.use=sgd drops the options of 'adamw': lr\n"
    assert json.loads(cli("recipes", "show", tiny, "--json").stdout)["train"]["epochs"] == 2
