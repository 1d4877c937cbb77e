"""Image files with a temporary read error are not cached as broken."""

from __future__ import annotations

import errno
import os
import shutil
from io import BufferedReader
from pathlib import Path

import pytest

from sslkit.data import image_files
from sslkit.data.datasets.folder import content_hash, scan
from sslkit.data.datasets.image_folder import ImageFolder
from sslkit.errors import DataError


def image_folder(root: Path) -> ImageFolder:
    return ImageFolder(ImageFolder.Options(root=root, broken_limit=0.5))


@pytest.fixture
def root(write_image, tmp_path: Path) -> Path:
    for index in range(4):
        write_image(f"{index}.png", seed=index)
    return tmp_path / "pictures"


@pytest.mark.parametrize("module", [image_files, content_hash], ids=["decoding", "hashing"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE], ids=errno.errorcode.get)
def test_a_file_that_cannot_be_read_now_is_not_cached_as_broken(
    root: Path, monkeypatch: pytest.MonkeyPatch, module: object, number: int
) -> None:
    open_file = image_files.open_regular_file

    def fail(path: Path) -> BufferedReader:
        if path.name == "2.png":
            raise OSError(number, os.strerror(number), str(path))
        return open_file(path)

    with monkeypatch.context() as patch:
        patch.setattr(module, "open_regular_file", fail)
        with pytest.raises(DataError) as error:
            image_folder(root).load("train")
    assert str(error.value) == (
        f"{root / '2.png'} cannot be read now: {os.strerror(number)}. Try again; if it fails again, remove the file."
    )
    assert len(image_folder(root).load("train").images) == 4


def test_a_linked_folder_that_cannot_be_reached_now_is_an_error(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = scan.os.scandir

    class Stale:
        name, path = "class", str(root / "class")

        def is_dir(self) -> bool:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), self.path)

    class Listing(list):
        def __enter__(self) -> Listing:
            return self

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr(scan.os, "scandir", lambda path: Listing([*scandir(path), Stale()]))
    with pytest.raises(DataError, match="Stale file handle"):
        image_folder(root).load("train")


def test_a_file_without_read_permission_is_broken(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_file = image_files.open_regular_file

    def refuse(path: Path) -> BufferedReader:
        if path.name == "2.png":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open_file(path)

    for module in (image_files, content_hash):
        monkeypatch.setattr(module, "open_regular_file", refuse)
    dataset = image_folder(root)
    assert len(dataset.load("train").images) == 3
    assert dataset.report()["broken"] == [{"file": "2.png", "reason": "Permission denied"}]


def test_a_cache_entry_is_used_even_if_its_content_hash_cannot_be_written(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_folder(root).load("train")
    copy = Path(shutil.copytree(root, tmp_path / "copy"))

    def full(path: Path, text: str) -> None:
        raise DataError("the cache cannot be written")

    monkeypatch.setattr(content_hash, "write_file", full)
    assert len(image_folder(copy).load("train").images) == 4


def test_a_split_without_readable_images_is_an_error(write_image, tmp_path: Path) -> None:
    for index in range(30):
        write_image(f"train/{index}.png", seed=index)
    for split in ("validation", "test"):
        (tmp_path / "pictures" / split).mkdir()
        (tmp_path / "pictures" / split / "a.jpg").write_bytes(b"ftypheic")
    dataset = ImageFolder(ImageFolder.Options(root=tmp_path / "pictures", broken_limit=0.1))
    assert len(dataset.load("train").images) == 30
    for split in ("validation", "test"):
        with pytest.raises(DataError) as error:
            dataset.load(split)
        assert str(error.value).startswith(
            f"none of the 1 images of the split {split!r} of {tmp_path / 'pictures'} can be read; the first is "
            f"{split}/a.jpg: not an image, or its header is damaged."
        )
