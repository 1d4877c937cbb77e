"""Splits and labels of folders with different layouts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sslkit.data.datasets.folder.labels import FolderLabels, LabelMode, read_labels
from sslkit.data.datasets.folder.scan import scan_folder
from sslkit.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    return tmp_path / "pictures"


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def read(root: Path, mode: LabelMode = "auto") -> FolderLabels:
    return read_labels(scan_folder(root), mode)


def read_error(root: Path, mode: LabelMode = "auto") -> str:
    with pytest.raises(DataError) as caught:
        read(root, mode)
    return str(caught.value)


def test_splits_and_unread_folders_next_to_them(root: Path) -> None:
    touch(root, "train/a.png", "val/b.png", "test/c.png", "extra/d.png", "readme.txt", ".git/e.png")
    scan = scan_folder(root)
    assert {split: [file.path for file in files] for split, files in scan.files.items()} == {
        "train": ["train/a.png"],
        "validation": ["val/b.png"],
        "test": ["test/c.png"],
    }
    assert scan.unread_folders == ("extra",)
    touch(root, "validation/f.png")
    assert read_error(root) == f"{root} has both val and validation. Keep one of them."


def test_splits_without_train_are_an_error(root: Path) -> None:
    touch(root, "test/a.png", "val/b.png")
    assert read_error(root) == (
        f"{root} has val and test, but no train folder. Add {root / 'train'}, or set root to the folder of the "
        "training images."
    )


def test_images_of_every_depth_are_found_and_other_files_are_counted(root: Path) -> None:
    touch(root, "a.PNG", "b/c.jpeg", "b/d/e/f.webp", "b/notes.txt", "b/more.TXT", "README", "g.svg", "._a.png")
    scan = scan_folder(root)
    assert [file.path for file in scan.files["train"]] == ["a.PNG", "b/c.jpeg", "b/d/e/f.webp"]
    assert scan.ignored == {".svg": 1, ".txt": 2, "hidden": 1, "no extension": 1}
    assert read(root).by_split == {}


def test_links_are_followed_but_not_in_circles(root: Path, tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/b.png", "pictures/a.png", "pictures/c/d.png")
    for link, target in (("linked", "elsewhere"), ("e.png", "elsewhere/b.png"), ("c/up", "pictures"), ("f.png", "no")):
        (root / link).symlink_to(tmp_path / target)
    files = scan_folder(root).files["train"]
    assert [file.path for file in files] == ["a.png", "c/d.png", "e.png", "f.png", "linked/b.png"]
    assert files[3].stamp == (-1, -1, -1)


def test_links_to_parents_and_circular_links_are_not_followed(root: Path, tmp_path: Path) -> None:
    touch(root, "a.png", "inside/b.png")
    touch(tmp_path, "elsewhere/c.png", "next-to-it.png")
    (root / "up").symlink_to(tmp_path)
    (root / "inside" / "up").symlink_to(root / "inside")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(tmp_path / "elsewhere")
    (root / "loop.png").symlink_to("loop.png")
    files = scan_folder(root).files["train"]
    assert [file.path for file in files] == ["a.png", "inside/b.png", "linked/c.png", "loop.png"]
    assert files[-1].stamp == (-1, -1, -1)


def test_missing_images_and_folders_are_errors(root: Path) -> None:
    extensions = ".bmp, .gif, .jpeg, .jpg, .pbm, .pgm, .png, .ppm, .tif, .tiff, .webp"
    remedy = f"Image files end with {extensions}."
    assert read_error(root) == f"no images in {root} (found: no files at all). {remedy}"
    touch(root, "train/a.npy", "train/b.heic", "train/c.HEIC", "train/c.txt")
    found = "2 .heic (HEIC, convert to PNG or JPEG), 1 .npy, 1 .txt"
    assert read_error(root) == f"no images in {root / 'train'} (found: {found}). {remedy}"
    assert read_error(root / "nowhere") == (
        f"the image folder {root / 'nowhere'} does not exist (relative paths start at the working directory, "
        f"{Path.cwd()})"
    )
    assert "is a file, not a folder" in read_error(root / "train/a.npy")


def test_class_folders_below_train_are_labels(root: Path) -> None:
    touch(root, "train/b/1.png", "train/a/1.png", "train/a/2.png", "test/b/1.png")
    labels = read(root)
    assert labels.class_names == ("a", "b")
    assert labels.by_split == {"train": (0, 0, 1), "test": (1,)}
    assert read(root, "none") == FolderLabels((), {}, dict.fromkeys(("train", "test"), "unlabelled: labels = 'none'"))


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["train/1.png", "train/2.png"], "2 of 2 images are not in train/<class>/<file>"),
        (["train/a/1.png", "train/b/2.png", "train/3.png"], "1 of 3 images are not in train/<class>/<file>"),
        (["train/a/x/1.png", "train/b/x/2.png"], "2 of 2 images are not in train/<class>/<file>"),
        (["train/a/1.png", "train/b/2.png", "train/c/3.png"], "every image has a folder of its own"),
        (["train/images/1.png", "train/images/2.png"], "all images are in one folder, 'images'"),
        (
            ["a/1.png", "a/2.png", "b/1.png"],
            "there are no train and test folders (labels = 'folders' reads the sub-folders as classes)",
        ),
    ],
)
def test_layouts_that_auto_reads_without_labels(root: Path, names: list[str], reason: str) -> None:
    touch(root, *names)
    assert read(root) == FolderLabels((), {}, {"train": f"unlabelled: {reason}"})


def test_mode_folders_reads_the_top_folders_as_classes(root: Path) -> None:
    touch(root, "b/1.png", "a/deep/2.png")
    labels = read(root, "folders")
    assert labels == FolderLabels(("a", "b"), {"train": (0, 1)}, {"train": "labelled: 2 class folders"})
    touch(root, "3.png")
    assert read_error(root, "folders") == (
        f"labels = 'folders', but 1 images of {root} are not in a class folder: 3.png. "
        "Move them into class folders, or set labels = 'none'."
    )


def test_a_test_split_may_be_unlabelled_or_have_one_image_per_class(root: Path) -> None:
    touch(root, *(f"train/{name}/{number}.png" for name in "ab" for number in "12"))
    touch(root, "validation/1.png", "test/a/1.png", "test/b/1.png")
    labels = read(root)
    assert set(labels.by_split) == {"train", "test"}
    assert labels.reasons["validation"] == "unlabelled: 1 of 1 images are not in validation/<class>/<file>"


def test_a_test_split_can_have_labels_if_train_has_none(root: Path) -> None:
    touch(root, "train/1.png", "train/2.png", "test/b/1.png", "test/b/2.png", "test/a/1.png")
    assert read(root).class_names == ("a", "b")
    assert read(root).by_split == {"test": (0, 1, 1)}


def test_classes_that_train_does_not_have_are_an_error(root: Path) -> None:
    touch(root, *(f"train/{name}/{number}.png" for name in ("cat", "dog") for number in "12"))
    touch(root, "test/cat/1.png", "test/Dog/1.png", "test/bird/1.png")
    assert read_error(root) == (
        f"{root / 'test'} has classes that the training images do not have: Dog, bird; "
        "the training classes are cat, dog. Rename the folders, or set labels = 'none'."
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_a_folder_that_cannot_be_listed_is_an_error(root: Path) -> None:
    touch(root, "a.png")
    root.chmod(0)
    assert read_error(root).endswith("Check the permissions.")
