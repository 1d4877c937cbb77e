from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sslkit.errors import RunError
from sslkit.runs.class_names import read_added_names, read_class_names, write_class_names
from sslkit.runs.run import Run


def test_without_a_file_there_are_no_names(tmp_path: Path) -> None:
    assert read_class_names(Run(tmp_path), 3) is None


@given(names=st.lists(st.text(st.characters(exclude_categories=["Cs"])).map(str.strip), min_size=1, max_size=4))
def test_any_name_survives_writing_and_reading(names: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    run = Run(tmp_path_factory.mktemp("run"))
    write_class_names(run, names)
    assert read_class_names(run, len(names)) == tuple(names)


def test_missing_classes_have_no_name(tmp_path: Path) -> None:
    (tmp_path / "classes.toml").write_text('[names]\n2 = " cat "\n0 = "dog"\n')
    assert read_class_names(Run(tmp_path), 4) == ("dog", "", "cat", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[names\n", r"classes\.toml cannot be read: .*line 1"),
        ('\n[name]\n0 = "cat"\n', r"classes\.toml:2: unknown key 'name': .* table \[names\]"),
        ("names = 3\n", r"classes\.toml:1: names must be a table \[names\]"),
        ('[names]\n0 = "cat"\n3 = "dog"\n', r"classes\.toml:3: there is no class '3': .* 0 to 2"),
        ("[names]\n1 = 7\n", r'classes\.toml:2: the name of class 1 must be a string, such as 1 = "cat"'),
    ],
)
def test_errors_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "classes.toml").write_text(text)
    with pytest.raises(RunError, match=message):
        read_class_names(Run(tmp_path), 3)


def test_names_of_added_classes_are_kept_apart(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert read_added_names(run, 2) == {}
    write_class_names(run, ["cat", ""], {12: "bird", 2: ""})
    assert read_class_names(run, 2) == ("cat", "")
    assert read_added_names(run, 2) == {2: "", 12: "bird"}
    (tmp_path / "classes.toml").write_text('[added]\n1 = "bird"\n')
    with pytest.raises(RunError, match=r"classes\.toml:2: '1' is not the number of an added class: use 2 or more"):
        read_added_names(run, 2)
