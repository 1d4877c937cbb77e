"""Test images that are held out of class folders, and identical files across splits and classes."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from sslkit.data.checksum import checksum
from sslkit.data.datasets.folder import content_hash
from sslkit.data.datasets.folder.survey import survey_folder
from sslkit.data.datasets.image_folder import ImageFolder
from sslkit.errors import DataError


@pytest.fixture
def root(write_image, tmp_path: Path) -> Path:
    """Folder of the classes cat with 20, dog with 10 and owl with a single image."""
    for name, count in (("cat", 20), ("dog", 10), ("owl", 1)):
        for index in range(count):
            write_image(f"{name}/{index:02}.png", seed=index + 1000 * ord(name[0]))
    return tmp_path / "pictures"


def image_folder(root: Path, **options: object) -> ImageFolder:
    return ImageFolder(ImageFolder.Options.model_validate({"root": root, "labels": "folders", **options}))


def files_of(root: Path, split: str, **options: object) -> set[str]:
    return set(image_folder(root, **options).load(split).files)


def test_a_fraction_of_each_class_becomes_the_test_split(root: Path) -> None:
    dataset = image_folder(root, hold_out=0.2)
    assert dataset.splits == ("train", "test")
    train, test = dataset.load("train"), dataset.load("test")
    assert test.labels is not None
    assert train.labels is not None
    assert dataset.class_names == ("cat", "dog", "owl")
    assert Counter(test.labels.tolist()) == {0: 4, 1: 2}
    assert Counter(train.labels.tolist()) == {0: 16, 1: 8, 2: 1}
    assert not set(train.files) & set(test.files)
    for split in (train, test):
        for index, name in enumerate(split.files):
            assert name.startswith(dataset.class_names[int(split.labels[index])])  # type: ignore[index]
            alone = image_folder(root).load("train")
            pixels = alone.images.gather(torch.tensor([alone.files.index(name)]))
            assert torch.equal(split.images.gather(torch.tensor([index])), pixels)
    assert "test: labelled: 2 class folders, held out of the training images" in dataset.notes()
    assert checksum(dataset.images("train")) != checksum(image_folder(root).images("train"))


def test_the_choice_depends_on_the_seed_and_hardly_on_added_images(root: Path, write_image) -> None:
    held = files_of(root, "test", hold_out=0.2)
    assert held == files_of(root, "test", hold_out=0.2)
    assert held != files_of(root, "test", hold_out=0.2, hold_out_seed=1)
    write_image("cat/new.png", seed=9)
    assert len(held ^ files_of(root, "test", hold_out=0.2)) <= 2


def test_identical_files_stay_together_and_contradicting_ones_in_training(root: Path) -> None:
    for index in range(10):
        shutil.copy(root / f"cat/{index:02}.png", root / f"cat/copy{index:02}.png")
    for index in range(5):
        shutil.copy(root / f"dog/{index:02}.png", root / f"cat/dog{index:02}.png")
    held = files_of(root, "test", hold_out=0.3)
    for index in range(10):
        assert (f"cat/{index:02}.png" in held) == (f"cat/copy{index:02}.png" in held)
    for index in range(5):
        assert not held & {f"dog/{index:02}.png", f"cat/dog{index:02}.png"}
    notes = "\n".join(image_folder(root, hold_out=0.3).notes())
    assert "warning: 5 identical images are in more than one class, so their labels contradict each other: " in notes
    assert "dog/00.png" in notes
    assert "in more than one of train" not in notes


def test_identical_files_in_more_than_one_split_are_reported_by_train(root: Path, tmp_path: Path) -> None:
    (root / "dog").rename(tmp_path / "dog")
    for split in ("train", "test"):
        shutil.copytree(tmp_path / "dog", root / split / "dog")
        shutil.copytree(root / "owl", root / split / "owl")
    (root / "test/dog/09.png").write_bytes(b"")
    notes = "\n".join(image_folder(root, broken_limit=0.5).notes())
    assert (
        "warning: 10 identical images are in more than one of train and test, so results on them are too good: "
        "train/dog/00.png = test/dog/00.png; " in notes
    )
    assert "; and 7 more. Remove all but one of each" in notes
    assert "in more than one class" not in notes


def test_files_are_hashed_once_for_all_formats_of_a_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    file_hash = content_hash.file_hash

    def record(path: Path) -> str:
        hashed.append(path)
        return file_hash(path)

    monkeypatch.setattr(content_hash, "file_hash", record)
    for options in ({}, {"hold_out": 0.2}, {"size": 8}):
        image_folder(root, **options).notes()
    assert len(hashed) == 31


def test_init_holds_out_the_images_that_train_does(root: Path) -> None:
    survey = survey_folder(root, labels="folders", hold_out_fraction=0.2)
    assert {file.path for file in survey.scan.files["test"]} == files_of(root, "test", hold_out=0.2)
    assert survey.images == 25


def test_wrong_options_are_refused(root: Path) -> None:
    with pytest.raises(ValidationError, match='hold_out needs labels = "folders"'):
        image_folder(root, hold_out=0.2, labels="auto")
    for path in [*root.glob("cat/*"), *root.glob("dog/*")][1:]:
        path.unlink()
    with pytest.raises(DataError, match=r"no image of .* can be held out"):
        image_folder(root, hold_out=0.2).load("test")
    (root / "train").mkdir()
    (root / "owl").rename(root / "train" / "owl")
    shutil.copytree(root / "train", root / "Test")
    with pytest.raises(DataError, match=r"Test is the test split already\. Set hold_out = 0"):
        image_folder(root, hold_out=0.2).load("test")
