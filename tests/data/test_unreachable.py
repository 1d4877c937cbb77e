"""Images that cannot be read now, and caches that cannot be written now, are not taken for broken ones."""

from __future__ import annotations

import errno
import os
import shutil
from io import BufferedReader
from pathlib import Path

import pytest

from sslkit.data import images
from sslkit.data.datasets.folder import content, scan
from sslkit.data.datasets.image_folder import ImageFolder
from sslkit.errors import DataError


def folder(root: Path) -> ImageFolder:
    return ImageFolder(ImageFolder.Options(root=root, broken_limit=0.5))


@pytest.fixture
def root(paint, tmp_path: Path) -> Path:
    for place in range(4):
        paint(f"{place}.png", seed=place)
    return tmp_path / "pictures"


@pytest.mark.parametrize("module", [images, content], ids=["decoding", "hashing"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE], ids=errno.errorcode.get)
def test_what_cannot_be_read_now_is_not_kept_as_broken(
    root: Path, monkeypatch: pytest.MonkeyPatch, module: object, number: int
) -> None:
    honest = images.open_regular_file

    def ails(path: Path) -> BufferedReader:
        if path.name == "2.png":
            raise OSError(number, os.strerror(number), str(path))
        return honest(path)

    with monkeypatch.context() as patch:
        patch.setattr(module, "open_regular_file", ails)
        with pytest.raises(DataError) as error:
            folder(root).load("train")
    assert str(error.value) == (
        f"{root / '2.png'} cannot be read now: {os.strerror(number)}. Try again, or remove it if that goes on."
    )
    assert len(folder(root).load("train").images) == 4


def test_a_linked_folder_that_cannot_be_reached_now_is_not_left_out(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = scan.os.scandir

    class Stale:
        name, path = "class", str(root / "class")

        def is_dir(self) -> bool:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), self.path)

    class Listing(list):
        def __enter__(self) -> Listing:
            return self

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr(scan.os, "scandir", lambda path: Listing([*honest(path), Stale()]))
    with pytest.raises(DataError, match="Stale file handle"):
        folder(root).load("train")


def test_a_file_that_may_not_be_read_is_a_broken_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = images.open_regular_file

    def refuses(path: Path) -> BufferedReader:
        if path.name == "2.png":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return honest(path)

    for module in (images, content):
        monkeypatch.setattr(module, "open_regular_file", refuses)
    found = folder(root)
    assert len(found.load("train").images) == 3
    assert found.report()["broken"] == [{"file": "2.png", "reason": "Permission denied"}]


def test_an_entry_is_used_though_nothing_can_be_noted_beside_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(root).load("train")
    copy = Path(shutil.copytree(root, tmp_path / "copy"))

    def full(path: Path, text: str) -> None:
        raise DataError("the cache cannot be written")

    monkeypatch.setattr(content, "write_file", full)
    assert len(folder(copy).load("train").images) == 4


def test_a_split_of_which_nothing_can_be_read_is_refused(paint, tmp_path: Path) -> None:
    for place in range(30):
        paint(f"train/{place}.png", seed=place)
    for split in ("validation", "test"):
        (tmp_path / "pictures" / split).mkdir()
        (tmp_path / "pictures" / split / "a.jpg").write_bytes(b"ftypheic")
    found = ImageFolder(ImageFolder.Options(root=tmp_path / "pictures", broken_limit=0.1))
    assert len(found.load("train").images) == 30
    for split in ("validation", "test"):
        with pytest.raises(DataError) as error:
            found.load(split)
        assert str(error.value) == (
            f"none of the 1 images of the split {split!r} of {tmp_path / 'pictures'} can be read; the first is "
            f"{split}/a.jpg: not an image, or damaged from the start."
        )
