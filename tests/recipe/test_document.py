from __future__ import annotations

from pathlib import Path

import pytest

from sslkit.errors import RecipeError
from sslkit.recipe.document import Origin, read_document


def write_recipes(folder: Path, **recipes: str) -> Path:
    for name, text in recipes.items():
        (folder / f"{name}.toml").write_text(text)
    return folder / f"{next(iter(recipes))}.toml"


def test_extends_merges_tables_and_replaces_arrays_and_changed_components(tmp_path: Path) -> None:
    child = write_recipes(
        tmp_path,
        child='extends = "base.toml"\n[train]\nepochs = 9\n[loss]\nuse = "b"\nx = 1\n[head]\nk = [3]\n',
        base='[train]\nepochs = 1\nbatch_size = 4\n[loss]\nuse = "a"\nold = 1\n[head]\nuse = "h"\nk = [1, 2]\n',
    )
    document = read_document(child)
    assert document.tables == {
        "train": {"epochs": 9, "batch_size": 4},
        "loss": {"use": "b", "x": 1},
        "head": {"use": "h", "k": [3]},
    }
    assert document.origins[("train", "epochs")] == Origin(str(child), 3)
    assert document.origins[("train", "batch_size")] == Origin(str(tmp_path / "base.toml"), 3)
    assert ("loss", "old") not in document.origins
    assert ("head", "k", 1) not in document.origins
    assert document.source == str(child)


def test_extends_is_relative_to_the_recipe_and_may_be_chained(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write_recipes(tmp_path, middle='extends = "root.toml"\n[train]\nepochs = 2\n', root="[run]\nseed = 5\n")
    child = tmp_path / "deep" / "child.toml"
    child.write_text('extends = "../middle.toml"\n')
    assert read_document(child).tables == {"run": {"seed": 5}, "train": {"epochs": 2}}


@pytest.mark.parametrize(
    ("recipes", "message"),
    [
        (
            {"a": 'extends = "b.toml"', "b": 'extends = "a.toml"'},
            "extend each other in a cycle: a.toml -> b.toml -> a.toml",
        ),
        ({"a": '\nextends = "gone.toml"'}, "a.toml:2: extends: there is no recipe"),
        ({"a": "extends = 3"}, "a.toml:1: extends: must be a string, the path of another recipe, not 3"),
        ({"a": "[train\nepochs = 1"}, "a.toml:1: is not valid TOML: "),
        ({"a": "x = 1\ny = \n"}, "a.toml:2: is not valid TOML: "),
        ({"a": "x = " + "9" * 5000}, "a.toml: is not valid TOML: Exceeds the limit"),
        ({"a": '[data]\nroot = "C:\\users"'}, "a.toml:2: is not valid TOML: Invalid hex value (at line 2, column "),
        ({"a": '[data]\nroot = "C:\\users"'}, "a backslash starts an escape: write paths with / or in single quotes"),
        ({"a": 'root = "C:\\data"'}, "a backslash starts an escape: write paths with / or in single quotes"),
        ({"a": 'extends = "\\u0000"'}, "a.toml:1: extends: there is no recipe"),
        ({"a": f'extends = "{"x" * 400}"'}, "a.toml:1: extends: there is no recipe"),
        ({"a": "x = " + "[" * 5000}, "a.toml: is nested too deeply for a recipe"),
        ({"a": "x = 1\n" * 200_000}, "a.toml: is larger than 1000000 bytes"),
    ],
)
def test_errors_of_unreadable_recipes_show_the_line(tmp_path: Path, recipes: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError) as error:
        read_document(write_recipes(tmp_path, **recipes))
    assert message in str(error.value)


def test_binary_and_missing_files_are_errors(tmp_path: Path) -> None:
    (tmp_path / "image.toml").write_bytes(b"ab\xff\xfe")
    with pytest.raises(RecipeError, match=r"image.toml:1: is not UTF-8 text \(byte 2\)"):
        read_document(tmp_path / "image.toml")
    with pytest.raises(RecipeError, match=r"gone.toml: there is no such file \(the folder has .*image.toml\)"):
        read_document(tmp_path / "gone.toml")
    with pytest.raises(RecipeError, match=r"is a folder, not a recipe \(`sslkit init .*` proposes a recipe"):
        read_document(tmp_path)


def test_windows_line_endings_and_bom_keep_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "dos.toml"
    path.write_bytes(b"\xef\xbb\xbf[train]\r\nepochs = 3\r\n")
    assert read_document(path).origins[("train", "epochs")].line == 2
