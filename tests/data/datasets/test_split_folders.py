"""Split folders are recognised by their usual names. Ambiguous folders raise an error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sslkit.data.datasets.folder.scan import HIDDEN, REPEATED, scan_folder
from sslkit.data.datasets.image_folder import ImageFolder
from sslkit.errors import DataError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def read_paths(root: Path, split: str = "train") -> list[str]:
    return [file.path for file in scan_folder(root).files[split]]


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("Train", "Test"), {"train": "Train", "test": "Test"}),
        (("training", "testing"), {"train": "training", "test": "testing"}),
        (("train", "valid", "test"), {"train": "train", "validation": "valid", "test": "test"}),
        (("train", "dev"), {"train": "train", "validation": "dev"}),
        (("TRAIN", "VAL", "x"), {"train": "TRAIN", "validation": "VAL"}),
        (("training_set", "test_set"), {"train": "training_set", "test": "test_set"}),
        (("train2017", "val2017"), {"train": "train2017", "validation": "val2017"}),
        (("train", "test1"), {"train": "train", "test": "test1"}),
        (("training",), {"train": "training"}),
        (("train", "bus"), {"train": "train"}),
        (("Train", "Bus"), {"train": ""}),
        (("running", "training", "walking"), {"train": ""}),
        (("valid", "invalid"), {"train": ""}),
        (("dog", "cat"), {"train": ""}),
    ],
)
def test_usual_names(folders: tuple[str, ...], splits: dict[str, str], tmp_path: Path) -> None:
    touch(tmp_path, *(f"{folder}/{index}.png" for folder in folders for index in "12"))
    scan = scan_folder(tmp_path)
    assert dict(scan.split_folders) == splits
    read = set(splits.values())
    assert scan.unread_folders == (() if read == {""} else tuple(sorted(set(folders) - read)))
    assert len(scan.all_files) == 2 * (len(folders) if read == {""} else len(read))


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train", "Train"), "has both Train and train. Keep one of them."),
        (("train", "val", "validation"), "has both val and validation. Keep one of them."),
        (("Test", "photos"), "has Test, but no train folder. Add "),
        (
            ("seg_test", "seg_train"),
            "has seg_train and seg_test, which may be splits. Rename them to train, ",
        ),
        (("my training", "test"), "has my training and test, which may be splits. Rename them"),
    ],
)
def test_unclear_names_are_refused(folders: tuple[str, ...], message: str, tmp_path: Path) -> None:
    touch(tmp_path, *(f"{folder}/1.png" for folder in folders))
    with pytest.raises(DataError) as error:
        scan_folder(tmp_path)
    assert str(error.value).startswith(f"{tmp_path} {message}")


def test_everything_that_is_not_read_is_named_by_train(write_image, tmp_path: Path) -> None:
    for name in ("Train/a.png", "Test/a.png", "extra/b.png", "c.png", "d.png"):
        write_image(name)
    touch(tmp_path, "pictures/Train/e.heic", "pictures/Train/f.txt")
    notes = ImageFolder(ImageFolder.Options(root=tmp_path / "pictures")).notes()
    assert f"not read, because next to Train/, Test/: extra/, 2 images in {tmp_path / 'pictures'}" in notes
    assert "other files are ignored: 1 .heic (HEIC, convert to PNG or JPEG), 1 .txt" in notes


@pytest.mark.parametrize("order", [1, -1])
def test_a_folder_is_read_once_whatever_links_lead_to_it(
    order: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "pictures"
    touch(root, "m/1.png", "m/deep/2.png", ".hidden/3.png")
    touch(tmp_path, "elsewhere/sub/4.png", "elsewhere/5.png")
    for link, target in {
        "a": "pictures/m",
        "z": "pictures/m/deep",
        "m/sibling": "pictures/m/deep",
        "m/deep/up": "pictures",
        "b": "elsewhere/sub",
        "c": "elsewhere",
        "d": "elsewhere",
    }.items():
        (root / link).symlink_to(tmp_path / target)
    (tmp_path / "elsewhere" / "back").symlink_to(root / "m")
    scandir = os.scandir

    class Listing(list):
        def __enter__(self) -> Listing:
            return self

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr(
        os, "scandir", lambda path: Listing(sorted(scandir(path), key=lambda entry: entry.name)[::order])
    )
    assert read_paths(root) == ["b/4.png", "c/5.png", "m/1.png", "m/deep/2.png"]
    assert dict(scan_folder(root).ignored) == {HIDDEN: 1, REPEATED: 7}


def test_a_split_may_be_a_link_to_another(tmp_path: Path) -> None:
    touch(tmp_path, "train/a.png", "test/b.png")
    (tmp_path / "val").symlink_to(tmp_path / "test")
    assert read_paths(tmp_path, "validation") == ["val/b.png"]
    assert read_paths(tmp_path, "test") == ["test/b.png"]


def test_a_windows_path_with_escapes_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        scan_folder(Path("C:\temp"))
    assert str(error.value).endswith("a backslash starts an escape: write paths with / or in single quotes")
    assert "working directory" in str(error.value)
