from __future__ import annotations

from pathlib import Path

import pytest

from sslkit.errors import RecipeError
from sslkit.recipe.document import Document, Origin, read_document
from sslkit.recipe.overrides import apply_overrides


def make_document(tmp_path: Path, text: str) -> Document:
    path = tmp_path / "r.toml"
    path.write_text(text)
    return read_document(path)


def test_values_are_toml_or_plain_strings(tmp_path: Path) -> None:
    document = make_document(tmp_path, "")
    apply_overrides(
        document, ["a.x=3", "a.y=[1, 2]", "a.z=image-folder", "a.path=/some/where", "a.t={k = true}", "a.s='3'"]
    )
    assert document.tables == {
        "a": {"x": 3, "y": [1, 2], "z": "image-folder", "path": "/some/where", "t": {"k": True}, "s": "3"}
    }
    assert document.origins[("a", "x")] == Origin("--set a.x=3")


def test_the_last_override_of_a_key_wins(tmp_path: Path) -> None:
    document = make_document(tmp_path, "[train]\nepochs = 1\n")
    apply_overrides(document, ["train.epochs=2", "train.epochs=3"])
    assert document.tables["train"]["epochs"] == 3


def test_a_new_component_drops_the_options_of_the_old_one_with_a_note(tmp_path: Path) -> None:
    document = make_document(tmp_path, '[[loss]]\nuse = "a"\nweight = 2.0\ntemperature = 1\nother = 2\n')
    apply_overrides(document, ["loss.use=b", "loss.fresh=1"])
    assert document.tables["loss"] == [{"use": "b", "weight": 2.0, "fresh": 1}]
    assert document.notes == ["--set loss.use=b drops the options of 'a': temperature, other"]


def test_a_new_component_keeps_name_head_and_start_epoch(tmp_path: Path) -> None:
    text = '[[loss]]\nuse = "a"\nname = "n"\nhead = "h"\nstart_epoch = 3\ntemperature = 1\n'
    document = make_document(tmp_path, text)
    apply_overrides(document, ["loss.n.use=b"])
    assert document.tables["loss"] == [{"use": "b", "name": "n", "head": "h", "start_epoch": 3}]


def test_the_same_component_keeps_its_options(tmp_path: Path) -> None:
    document = make_document(tmp_path, '[loss]\nuse = "a"\ntemperature = 1\n')
    apply_overrides(document, ["loss.use=a"])
    assert document.tables["loss"] == {"use": "a", "temperature": 1}
    assert document.notes == []


def test_a_table_as_value_replaces_the_table(tmp_path: Path) -> None:
    document = make_document(tmp_path, '[loss]\nuse = "a"\ntemperature = 1\n')
    apply_overrides(document, ['loss={use = "b"}'])
    assert document.tables["loss"] == {"use": "b"}
    assert ("loss", "temperature") not in document.origins


def test_one_of_several_tables_is_selected_by_name_or_index(tmp_path: Path) -> None:
    document = make_document(tmp_path, '[[loss]]\nuse = "a"\nname = "first"\n[[loss]]\nuse = "b"\n')
    apply_overrides(document, ["loss.first.x=1", "loss.1.y=2"])
    assert document.tables["loss"] == [{"use": "a", "name": "first", "x": 1}, {"use": "b", "y": 2}]


def test_a_single_table_is_selected_with_or_without_name_or_index(tmp_path: Path) -> None:
    document = make_document(tmp_path, '[[head]]\nuse = "a"\nname = "first"\n')
    apply_overrides(document, ["head.x=1", "head.0.y=2", "head.first.z=3"])
    assert document.tables["head"] == [{"use": "a", "name": "first", "x": 1, "y": 2, "z": 3}]


def test_a_value_with_several_lines_stays_one_value(tmp_path: Path) -> None:
    document = make_document(tmp_path, "")
    apply_overrides(document, ["a.b=3\nc=4", "a.d=" + "9" * 5000])
    assert document.tables == {"a": {"b": "3\nc=4", "d": "9" * 5000}}


def test_all_invalid_overrides_are_reported_together(tmp_path: Path) -> None:
    text = '[[loss]]\nuse = "a"\nname = "first"\n[[loss]]\nuse = "b"\n[train]\nepochs = 3\n'
    document = make_document(tmp_path, text)
    with pytest.raises(RecipeError) as error:
        apply_overrides(document, ["nonsense", "loss.weight=1", "train.epochs.x=1", "=3"])
    assert str(error.value).splitlines() == [
        "4 problems in the recipe",
        "  --set nonsense: must be path=value, such as --set train.epochs=10",
        "  --set loss.weight=1: loss: there is more than one table: first, 1 (name one, such as loss.NAME)",
        "  --set train.epochs.x=1: train.epochs.x: train.epochs is 3, not a table",
        "  --set =3: must be path=value, such as --set train.epochs=10",
    ]
