from __future__ import annotations

from pathlib import Path

import pytest

from sslkit.errors import RecipeError
from sslkit.recipe.document import Document, Origin, read
from sslkit.recipe.overrides import override


def document(tmp_path: Path, text: str) -> Document:
    path = tmp_path / "r.toml"
    path.write_text(text)
    return read(path)


def test_values_are_toml_or_else_strings(tmp_path: Path) -> None:
    found = document(tmp_path, "")
    override(found, ["a.x=3", "a.y=[1, 2]", "a.z=image-folder", "a.path=/some/where", "a.t={k = true}", "a.s='3'"])
    assert found.tables == {
        "a": {"x": 3, "y": [1, 2], "z": "image-folder", "path": "/some/where", "t": {"k": True}, "s": "3"}
    }
    assert found.origins[("a", "x")] == Origin("--set a.x=3")


def test_later_ones_win(tmp_path: Path) -> None:
    found = document(tmp_path, "[train]\nepochs = 1\n")
    override(found, ["train.epochs=2", "train.epochs=3"])
    assert found.tables["train"]["epochs"] == 3


def test_a_new_component_drops_the_old_ones_options_and_says_so(tmp_path: Path) -> None:
    found = document(tmp_path, '[[loss]]\nuse = "a"\nweight = 2.0\ntemperature = 1\nother = 2\n')
    override(found, ["loss.use=b", "loss.fresh=1"])
    assert found.tables["loss"] == [{"use": "b", "weight": 2.0, "fresh": 1}]
    assert found.notes == ["--set loss.use=b drops the options of 'a': temperature, other"]


def test_a_new_component_takes_the_place_of_the_old(tmp_path: Path) -> None:
    found = document(tmp_path, '[[loss]]\nuse = "a"\nname = "n"\nhead = "h"\nstart_epoch = 3\ntemperature = 1\n')
    override(found, ["loss.n.use=b"])
    assert found.tables["loss"] == [{"use": "b", "name": "n", "head": "h", "start_epoch": 3}]


def test_the_same_component_keeps_its_options(tmp_path: Path) -> None:
    found = document(tmp_path, '[loss]\nuse = "a"\ntemperature = 1\n')
    override(found, ["loss.use=a"])
    assert found.tables["loss"] == {"use": "a", "temperature": 1}
    assert found.notes == []


def test_a_table_as_value_replaces_the_table(tmp_path: Path) -> None:
    found = document(tmp_path, '[loss]\nuse = "a"\ntemperature = 1\n')
    override(found, ['loss={use = "b"}'])
    assert found.tables["loss"] == {"use": "b"}
    assert ("loss", "temperature") not in found.origins


def test_one_of_several_is_reached_by_name_or_place(tmp_path: Path) -> None:
    found = document(tmp_path, '[[loss]]\nuse = "a"\nname = "first"\n[[loss]]\nuse = "b"\n')
    override(found, ["loss.first.x=1", "loss.1.y=2"])
    assert found.tables["loss"] == [{"use": "a", "name": "first", "x": 1}, {"use": "b", "y": 2}]


def test_the_only_element_is_reached_with_and_without_its_place(tmp_path: Path) -> None:
    found = document(tmp_path, '[[head]]\nuse = "a"\nname = "first"\n')
    override(found, ["head.x=1", "head.0.y=2", "head.first.z=3"])
    assert found.tables["head"] == [{"use": "a", "name": "first", "x": 1, "y": 2, "z": 3}]


def test_a_value_of_several_lines_stays_one_value(tmp_path: Path) -> None:
    found = document(tmp_path, "")
    override(found, ["a.b=3\nc=4", "a.d=" + "9" * 5000])
    assert found.tables == {"a": {"b": "3\nc=4", "d": "9" * 5000}}


def test_what_cannot_be_set_is_reported_all_at_once(tmp_path: Path) -> None:
    found = document(tmp_path, '[[loss]]\nuse = "a"\nname = "first"\n[[loss]]\nuse = "b"\n[train]\nepochs = 3\n')
    with pytest.raises(RecipeError) as error:
        override(found, ["nonsense", "loss.weight=1", "train.epochs.x=1", "=3"])
    assert str(error.value).splitlines() == [
        "4 problems in the recipe",
        "  --set nonsense: must be path=value, such as --set train.epochs=10",
        "  --set loss.weight=1: loss: there are several in loss: first, 1 (name one of them)",
        "  --set train.epochs.x=1: train.epochs.x: train.epochs is 3, which has no keys",
        "  --set =3: must be path=value, such as --set train.epochs=10",
    ]
