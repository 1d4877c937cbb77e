from __future__ import annotations

from pathlib import Path

import pytest

from sslkit.errors import RecipeError
from sslkit.recipe.document import Origin, read


def write(folder: Path, **recipes: str) -> Path:
    for name, text in recipes.items():
        (folder / f"{name}.toml").write_text(text)
    return folder / f"{next(iter(recipes))}.toml"


def test_tables_merge_and_arrays_and_changed_components_replace(tmp_path: Path) -> None:
    child = write(
        tmp_path,
        child='extends = "base.toml"\n[train]\nepochs = 9\n[loss]\nuse = "b"\nx = 1\n[head]\nk = [3]\n',
        base='[train]\nepochs = 1\nbatch_size = 4\n[loss]\nuse = "a"\nold = 1\n[head]\nuse = "h"\nk = [1, 2]\n',
    )
    found = read(child)
    assert found.tables == {
        "train": {"epochs": 9, "batch_size": 4},
        "loss": {"use": "b", "x": 1},
        "head": {"use": "h", "k": [3]},
    }
    assert found.origins[("train", "epochs")] == Origin(str(child), 3)
    assert found.origins[("train", "batch_size")] == Origin(str(tmp_path / "base.toml"), 3)
    assert ("loss", "old") not in found.origins
    assert ("head", "k", 1) not in found.origins
    assert found.source == str(child), "a run is called after it"


def test_extends_is_relative_to_the_recipe_and_reaches_further(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path, middle='extends = "root.toml"\n[train]\nepochs = 2\n', root="[run]\nseed = 5\n")
    child = tmp_path / "deep" / "child.toml"
    child.write_text('extends = "../middle.toml"\n')
    assert read(child).tables == {"run": {"seed": 5}, "train": {"epochs": 2}}


@pytest.mark.parametrize(
    ("recipes", "message"),
    [
        (
            {"a": 'extends = "b.toml"', "b": 'extends = "a.toml"'},
            "extend each other in a circle: a.toml -> b.toml -> a.toml",
        ),
        ({"a": '\nextends = "gone.toml"'}, "a.toml:2: extends: there is no recipe"),
        ({"a": "extends = 3"}, "a.toml:1: extends: extends must be a string, the path of another recipe, not 3"),
        ({"a": "[train\nepochs = 1"}, "a.toml:1: is not valid TOML: "),
        ({"a": "x = 1\ny = \n"}, "a.toml:2: is not valid TOML: "),
        ({"a": "x = " + "9" * 5000}, "a.toml: is not valid TOML: Exceeds the limit"),
        ({"a": 'extends = "\\u0000"'}, "a.toml:1: extends: there is no recipe"),
        ({"a": f'extends = "{"x" * 400}"'}, "a.toml:1: extends: there is no recipe"),
        ({"a": "x = " + "[" * 5000}, "a.toml: is nested too deeply for a recipe"),
        ({"a": "x = 1\n" * 200_000}, "a.toml: is larger than 1000000 bytes"),
    ],
)
def test_unreadable_recipes_are_located(tmp_path: Path, recipes: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError) as error:
        read(write(tmp_path, **recipes))
    assert message in str(error.value)


def test_not_text_and_not_there(tmp_path: Path) -> None:
    (tmp_path / "image.toml").write_bytes(b"ab\xff\xfe")
    with pytest.raises(RecipeError, match=r"image.toml:1: is not UTF-8 text \(byte 2\)"):
        read(tmp_path / "image.toml")
    with pytest.raises(RecipeError, match=r"gone.toml: there is no such file \(there are .*image.toml\)"):
        read(tmp_path / "gone.toml")
    with pytest.raises(RecipeError, match="cannot be read"):
        read(tmp_path)


def test_windows_files_have_the_same_lines(tmp_path: Path) -> None:
    path = tmp_path / "dos.toml"
    path.write_bytes(b"\xef\xbb\xbf[train]\r\nepochs = 3\r\n")
    assert read(path).origins[("train", "epochs")].line == 2
