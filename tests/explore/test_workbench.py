"""Corrections of classes: what they change, what is saved, and what undo restores."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from explore.images import blobs, explore_images
from hypothesis import given, settings
from hypothesis import strategies as st

from sslkit import Run
from sslkit.contracts.evaluator import IGNORED, OUTLIER
from sslkit.errors import InputError, RunError
from sslkit.explore.run_images import RunImages
from sslkit.explore.workbench import Workbench
from sslkit.runs.class_names import read_added_names, read_class_names

COUNT = 12


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> RunImages:
    return explore_images(tmp_path_factory.mktemp("images"), blobs(COUNT))


@pytest.fixture
def bench(images: RunImages, tmp_path: Path) -> Iterator[Workbench]:
    bench = Workbench(Run(tmp_path), images)
    yield bench
    bench.close()


def reopened(bench: Workbench) -> Workbench:
    bench.close()
    again = Workbench(bench.run, bench.images)
    again.close()
    return again


def test_without_corrections_the_classes_are_those_of_the_network(bench: Workbench) -> None:
    assert bench.current.tolist() == [index % 3 for index in range(COUNT)]
    assert bench.class_numbers() == [0, 1, 2]
    assert not bench.corrected.any()


def test_moved_and_marked_images_are_found_again_by_content(bench: Workbench, tmp_path: Path) -> None:
    bench.move([0, 3], 1)
    bench.mark([1], OUTLIER)
    bench.mark([2, 5], IGNORED)
    bench.mark([5], None)
    expected = [1, OUTLIER, IGNORED, 1, 1, 2, 0, 1, 2, 0, 1, 2]
    assert bench.current.tolist() == expected
    assert bench.corrected.nonzero().flatten().tolist() == [0, 1, 2, 3]
    assert reopened(bench).current.tolist() == expected
    # The same images in another folder, under other names.
    moved = explore_images(tmp_path / "elsewhere", blobs(COUNT))
    for index, file in enumerate(moved.files):
        shutil.copy(bench.images.root / bench.images.files[COUNT - 1 - index], moved.root / file)
    assert Workbench(bench.run, moved).current[torch.arange(COUNT).flip(0)].tolist()[:4] == expected[:4]


def test_identical_files_are_corrected_together(tmp_path: Path) -> None:
    images = explore_images(tmp_path / "images", blobs(COUNT))
    shutil.copy(images.root / images.files[0], images.root / images.files[7])
    bench = Workbench(Run(tmp_path), images)
    bench.move([0], 2)
    assert bench.current[[0, 7]].tolist() == [2, 2]


def test_a_merge_names_the_classes_and_undo_separates_them(bench: Workbench) -> None:
    bench.rename(2, "cat")
    assert bench.merge([1, 2], " pet ") == 1
    assert read_class_names(bench.run, 3) == ("", "pet", "pet")
    assert bench.class_numbers() == [0, 1]
    assert set(bench.current.tolist()) == {0, 1}
    bench.undo()
    assert read_class_names(bench.run, 3) == ("", "", "cat")
    assert bench.current.tolist() == [index % 3 for index in range(COUNT)]
    bench.redo()
    assert read_class_names(bench.run, 3) == ("", "pet", "pet")
    with pytest.raises(InputError, match="there is no class 2"):
        bench.merge([0, 2], "pet")


def test_an_added_class_has_a_name_in_classes_toml(bench: Workbench) -> None:
    assert bench.move([0, 1], None, " bird ") == 3
    assert read_added_names(bench.run, 3) == {3: "bird"}
    assert bench.class_numbers() == [0, 1, 2, 3]
    assert bench.members(3).tolist() == [0, 1]
    assert reopened(bench).names == {3: "bird"}


def test_a_split_moves_all_but_the_largest_part(tmp_path: Path) -> None:
    features = blobs(COUNT)
    features[[0, 3], 4] += 9
    bench = Workbench(Run(tmp_path), explore_images(tmp_path / "images", features))
    version = bench.version
    assert bench.preview_split(0, 2) == [[6, 9], [0, 3]] or bench.preview_split(0, 2) == [[0, 3], [6, 9]]
    bench.split(0, 2, version)
    assert {tuple(bench.members(0).tolist()), tuple(bench.members(3).tolist())} == {(0, 3), (6, 9)}
    with pytest.raises(InputError, match="the classes changed after the preview"):
        bench.split(0, 2, version)
    with pytest.raises(InputError, match="a class of 2 images cannot be split into 3 parts"):
        bench.preview_split(3, 3)
    bench.undo()
    assert bench.class_numbers() == [0, 1, 2]


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda bench: bench.move([COUNT], 1), "images have the numbers 0 to 11"),
        (lambda bench: bench.move([-1], 1), "images have the numbers"),
        (lambda bench: bench.move([0], 9), "there is no class 9"),
        (lambda bench: bench.move([], 1), "nothing is selected"),
        (lambda bench: bench.mark([0], 5), "cannot be marked with 5"),
        (lambda bench: bench.rename(0, "\udc80"), "not valid UTF-8"),
        (lambda bench: bench.merge([1, 1], "cat"), "choose at least two classes"),
        (lambda bench: bench.merge([0, 1], " "), "choose a name for the merged class"),
    ],
)
def test_what_is_impossible_is_refused_and_changes_nothing(
    bench: Workbench, act: Callable[[Workbench], object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        act(bench)
    assert bench.log.steps == []
    assert not (bench.run.path / "classes.toml").exists()


def test_damaged_files_are_reported(images: RunImages, tmp_path: Path) -> None:
    (tmp_path / "classes.toml").write_text('[added]\n1 = "cat"\n')
    with pytest.raises(RunError, match=r"classes\.toml:2: '1' is not the number of an added class: use 3 or more"):
        Workbench(Run(tmp_path), images)


def test_corrections_of_missing_images_are_counted(bench: Workbench, tmp_path: Path) -> None:
    bench.move([0], 1)
    bench.close()
    other = explore_images(tmp_path / "other", blobs(4))
    for file in other.files:
        (other.root / file).write_bytes(file.encode())
    again = Workbench(bench.run, other)
    assert (again.missing, bool(again.corrected.any())) == (1, False)


ACTIONS = st.lists(
    st.tuples(st.just("move"), st.integers(0, COUNT - 1), st.integers(0, 4))
    | st.tuples(st.just("mark"), st.integers(0, COUNT - 1), st.sampled_from([OUTLIER, IGNORED, None]))
    | st.tuples(st.just("name"), st.integers(0, 4), st.sampled_from(["", "cat", "dog", "class 1"]))
    | st.tuples(st.just("merge"), st.integers(0, 4), st.integers(0, 4))
    | st.tuples(st.sampled_from(["add", "undo", "redo", "reopen"]), st.integers(0, COUNT - 1), st.just(0)),
    max_size=12,
)


@settings(deadline=None, max_examples=20)
@given(actions=ACTIONS)
def test_undo_restores_classes_and_names_after_any_actions(
    images: RunImages, actions: list, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bench = Workbench(Run(tmp_path_factory.mktemp("run")), images)

    def state() -> tuple:
        names = read_class_names(bench.run, 3) or ("", "", "")
        return bench.current.tolist(), {number: name for number, name in bench.names.items() if name}, names

    states, position = [state()], 0
    for action, first, second in actions:
        if action == "reopen":
            bench.close()
            bench = Workbench(bench.run, images)
        elif action in ("undo", "redo"):
            possible = bench.history.done if action == "undo" else bench.history.undone
            position += 0 if not possible else -1 if action == "undo" else 1
            bench.undo() if action == "undo" else bench.redo()
        else:
            try:
                if action == "move":
                    bench.move([first], second)
                elif action == "mark":
                    bench.mark([first], second)
                elif action == "name":
                    bench.rename(first, second)
                elif action == "merge":
                    bench.merge([first, second], "cat")
                else:
                    bench.move([first], None, "new")
            except InputError:
                continue
            states = [*states[: position + 1], state()]
            position += 1
        assert state() == states[position]
    bench.close()
