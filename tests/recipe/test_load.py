from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sslkit.errors import RecipeError
from sslkit.recipe.load import load_recipe

FIVE_PROBLEMS = """\
[run]
seeed = 3

[train]
epochs = "ten"
batch_size = 64

[data]
use = "digitz"

[views]
use = "affine"

[backbone]
use = "convnet"

[[loss]]
use = "selfcls"

[optimizer]
ues = "adamw"

[optimiser]
"""


def reported_problems(path: Path, *settings: str) -> list[str]:
    with pytest.raises(RecipeError) as error:
        load_recipe(path, settings)
    return str(error.value).replace(f"{path.parent}/", "").splitlines()


def test_all_problems_of_structure_and_names_are_reported_together(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(FIVE_PROBLEMS)
    assert reported_problems(path) == [
        "5 problems in the recipe",
        "  bad.toml:2: run.seeed: unknown option (did you mean 'seed'?)",
        '  bad.toml:5: train.epochs: should be a valid integer, found "ten"',
        "  bad.toml:9: data.use: no installed dataset is called 'digitz': did you mean 'digits'?",
        "  bad.toml:20: optimizer.use: is required (available: adamw, lars, sgd)",
        "  bad.toml:23: optimiser: unknown section (did you mean 'optimizer'?)",
    ]


def test_all_problems_of_options_are_reported_together(tiny: Path) -> None:
    reported = reported_problems(
        tiny, "loss.row_temperatur=0.2", "loss.column_temperature=-1", "data.size=tall", "head.classifiers=[10, 'x']"
    )
    assert reported == [
        "4 problems in the recipe",
        '  --set data.size=tall: data.size: should be a valid integer, found "tall"',
        "  --set head.classifiers=[10, 'x']: head.classifiers.1: should be a valid integer, found \"x\"",
        "  --set loss.column_temperature=-1: loss.column_temperature: should be greater than 0, found -1",
        "  --set loss.row_temperatur=0.2: loss.row_temperatur: unknown option (did you mean 'row_temperature'?)",
    ]


def test_a_broken_plugin_does_not_hide_other_problems(tiny: Path, install) -> None:
    install("plug", "[sslkit.losses]\nbroken = gone_module:X\n")
    reported = reported_problems(tiny, "loss.use=broken", "data.size=1")
    assert len(reported) == 3
    assert "stale entry point" in reported[2]
    assert "data.size" in reported[1]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("loss=3", "loss: must be a table, [loss] or [[loss]]"),
        ("loss=[]", "loss: the section is missing"),
        ("optimzer.lr=1", "optimzer: unknown section (did you mean 'optimizer'?)"),
        ("train.epochs=99999999999999999999", "train.epochs: should be less than or equal to 10000000"),
        ("data=[1]", "data: must be a table, [data]"),
        ("train=1", "train: must be a table, [train]"),
        ("data.use=7", "data.use: must be a string, found 7"),
        ("train.epochs=0", "train.epochs: should be greater than or equal to 1, found 0"),
        ("train.epochs=2.5", "train.epochs: should be a valid integer"),
        ("train.precision=half", "train.precision: should be 'auto', 'float32' or 'bfloat16', found \"half\""),
        ("run.seed=true", "run.seed: should be a valid integer, found true"),
        ("run.seed=1979-05-27", 'run.seed: should be a valid integer, found "1979-05-27"'),
        ("optimizer.lr=nan", "optimizer.lr: should be a finite number, found NaN"),
        ("loss.head=none-such", "loss.head: no head is called 'none-such' (available: selfcls-mlp)"),
        ("evaluation.head=x", "evaluation.head: no head is called 'x' (available: selfcls-mlp)"),
        (
            "evaluation.classifier=best",
            "evaluation.classifier: should be a valid integer, or should be 'lowest-loss' or 'parent'",
        ),
        ("run.name=../up", "run.name: '../up' cannot be the name of the run (set it to at most 64 letters"),
        ("run.name=latest", "run.name: 'latest' cannot be the name of the run (set it to "),
        (
            "run.name=123",
            "run.name: should be a valid string, found 123 (to set a string, quote it: --set 'run.name=\"123\"')",
        ),
        (
            "loss.head=true",
            "loss.head: should be a valid string, found true (to set a string, quote it: --set 'loss.head=\"true\"')",
        ),
        (
            "data={use = 'image-folder', root = 2024}",
            'data.root: should be a path, found 2024 (to set a string, quote it: root = "2024")',
        ),
    ],
)
def test_a_problem_names_the_key_and_the_allowed_values(tiny: Path, setting: str, message: str) -> None:
    (_, line) = reported_problems(tiny, setting)
    assert line.startswith(f"  --set {setting}: {message}")


def test_a_recipe_file_whose_name_cannot_be_that_of_a_run_needs_run_name(tiny: Path) -> None:
    for name in ("latest.toml", "my recipe.toml"):
        path = tiny.rename(tiny.with_name(name))
        (_, line) = reported_problems(path)
        assert f"run.name: the recipe file's name {path.stem!r} cannot be the name of the run (set it to " in line
        assert load_recipe(path, ["run.name=mine"]).run_name == "mine"
        tiny = path


def test_two_losses_with_the_same_name_are_an_error(tmp_path: Path, tiny: Path) -> None:
    text = tiny.read_text().replace("[loss]", '[[loss]]\nuse = "selfcls"\n\n[[loss]]')
    tiny.write_text(text)
    assert "the name 'selfcls' is used twice (set another name)" in reported_problems(tiny)[1]


def test_a_resolved_recipe_is_complete_and_resolves_to_itself(tiny: Path, tmp_path: Path) -> None:
    recipe = load_recipe(tiny, ["train.epochs=5", "loss.weight=0"])
    again = tmp_path / "resolved.toml"
    again.write_text(recipe.to_toml())
    resolved = recipe.resolved()
    assert resolved["train"]["epochs"] == 5
    assert resolved["loss"][0]["column_temperature"] == 0.05
    assert resolved["loss"][0]["weight"] == 0
    assert resolved["method"] == {"use": "sslkit:joint-embedding"}
    assert load_recipe(again).to_toml() == recipe.to_toml()


def test_the_resolved_recipe_of_an_image_folder_resolves_to_itself(tiny: Path, tmp_path: Path) -> None:
    recipe = load_recipe(tiny, ["data={use='image-folder', root='pictures'}"])
    again = tmp_path / "resolved.toml"
    again.write_text(recipe.to_toml())
    assert load_recipe(again).to_toml() == recipe.to_toml(), "a resume compares 0 and 0.0 as different"


def test_resolved_paths_are_absolute(tiny: Path, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(tiny, ["data.use=image-folder", "data.root=pictures"])
    assert recipe.resolved()["data"]["root"] == str(tmp_path / "pictures")


def test_structure_and_names_are_checked_without_importing_torch(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(FIVE_PROBLEMS)
    script = (
        "import sys\nfrom pathlib import Path\nfrom sslkit.recipe.load import load_recipe\n"
        f"try: load_recipe(Path({str(path)!r}))\nexcept Exception as error: assert '5 problems' in str(error)\n"
        "heavy = {'torch', 'torchvision', 'lightly', 'pytorch_lightning', 'sklearn', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
