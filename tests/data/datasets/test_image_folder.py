from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from processes.forked_cli import run_script
from pydantic import ValidationError

from sslkit.data import cache as cache_module
from sslkit.data.datasets.folder import content_hash, decoded_cache
from sslkit.data.datasets.image_folder import ImageFolder
from sslkit.errors import DataError


def image_folder(root: Path, **options: Any) -> ImageFolder:
    return ImageFolder(ImageFolder.Options(root=root, **options))


def load_error(dataset: ImageFolder) -> str:
    with pytest.raises(DataError) as caught:
        dataset.load("train")
    return str(caught.value)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "pictures"


@pytest.fixture
def labelled_folder(write_image, root: Path) -> Path:
    for split, count in (("train", 4), ("test", 2)):
        for index in range(count):
            for name in ("dog", "cat"):
                write_image(f"{split}/{name}/{index}.png", seed=index + len(name + split))
    return root


@pytest.fixture
def decoded_paths(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """List of paths of the files that are decoded during the test."""
    paths: list[Path] = []
    decode_image = decoded_cache.decode_image

    def record(path: Path, *args: Any) -> Any:
        paths.append(path)
        return decode_image(path, *args)

    monkeypatch.setattr(decoded_cache, "decode_image", record)
    return paths


def test_a_labelled_folder(labelled_folder: Path) -> None:
    dataset = image_folder(labelled_folder)
    assert dataset.splits == ("train", "test")
    assert dataset.class_names == ("cat", "dog")
    for split, count in (("train", 8), ("test", 4)):
        loaded = dataset.load(split)
        assert len(loaded.images) == len(loaded.files) == count
        assert loaded.images.shape == (3, 10, 12)
        assert loaded.labels is not None
        assert loaded.labels.dtype == torch.int64
        for index, name in enumerate(loaded.files):
            assert name.startswith(f"{split}/{dataset.class_names[loaded.labels[index]]}/")
            wanted = np.asarray(Image.open(labelled_folder / name)).transpose(2, 0, 1)
            assert np.array_equal(loaded.images.gather(torch.tensor([index]))[0].numpy(), wanted)
    assert dataset.report() == {
        "read": {"train": "labelled: 2 class folders", "test": "labelled: 2 class folders"},
        "broken": [],
        "ignored": {},
        "unread": [],
        "converted": {},
        "values": [],
        "size": [3, 10, 12],
        "resized": 0,
    }


def test_options_are_checked_without_reading_the_folder() -> None:
    assert image_folder(Path("~/nowhere")).options.root == Path("~/nowhere").expanduser()
    assert ImageFolder.Options.model_validate({"root": "some/where"}).root == Path("some/where")
    for wrong in ({"size": 4}, {"size": "big"}, {"channels": 4}, {"labels": "maybe"}, {"broken_limit": 2}, {"root": 3}):
        with pytest.raises(ValidationError):
            ImageFolder.Options.model_validate({"root": "some/where", **wrong})


def test_images_of_different_sizes_become_squares_of_their_median_side(write_image, root: Path) -> None:
    for index, size in enumerate([(20, 30), (24, 24), (90, 28)]):
        write_image(f"{index}.png", size)
    dataset = image_folder(root)
    assert dataset.load("train").images.shape == (3, 24, 24)
    assert dataset.report()["resized"] == 2
    assert image_folder(root, size=16, channels=1).load("train").images.shape == (1, 16, 16)


def test_large_images_are_scaled_down(write_image, root: Path) -> None:
    write_image("a.png", (400, 300))
    assert image_folder(root).load("train").images.shape == (3, 256, 256)


def test_conversions_are_counted(write_image, root: Path) -> None:
    picture = Image.open(write_image("a.png"))
    for index in range(2):
        picture.convert("RGBA").save(root / f"rgba{index}.png")
    picture.convert("L").save(root / "grey.png")
    picture.save(root / "pages.tif", save_all=True, append_images=[picture])
    dataset = image_folder(root)
    assert dataset.report()["converted"] == {"L": 1, "RGBA": 2, "first of several frames": 1}
    assert "images that are converted: 1 L, 2 RGBA, 1 first of several frames" in dataset.notes()


BROKEN = {"train/cat/003.png": "empty file", "train/dog/040.png": "not an image, or its header is damaged"}


@pytest.fixture
def damaged_folder(write_image, root: Path) -> Path:
    """Folder of 100 images, of which 3 are broken."""
    for index in range(50):
        for name in ("cat", "dog"):
            write_image(f"train/{name}/{index:03}.png", seed=index)
    (root / "train/cat/003.png").write_bytes(b"")
    (root / "train/dog/040.png").write_bytes(b"no picture")
    cut = root / "train/dog/041.png"
    cut.write_bytes(cut.read_bytes()[:200])
    return root


def test_broken_files_are_skipped_and_each_is_reported_once(damaged_folder: Path) -> None:
    dataset = image_folder(damaged_folder)
    split = dataset.load("train")
    assert len(split.images) == len(split.files) == 97
    report = dataset.report()
    named = {item["file"]: item["reason"] for item in report["broken"]}
    assert len(report["broken"]) == 3
    assert named.items() >= BROKEN.items()
    assert "truncated" in named["train/dog/041.png"]
    assert not set(named) & set(split.files)
    for index in (2, 3, 96):  # before, at and after the index of the first broken file
        wanted = np.asarray(Image.open(damaged_folder / split.files[index])).transpose(2, 0, 1)
        assert np.array_equal(split.images.gather(torch.tensor([index]))[0].numpy(), wanted)
    assert split.labels is not None
    assert split.labels.tolist() == [0] * 49 + [1] * 48


def test_a_broken_file_of_one_split_does_not_shift_another(labelled_folder: Path) -> None:
    (labelled_folder / "train/cat/0.png").write_bytes(b"")
    split = image_folder(labelled_folder, broken_limit=0.1).load("test")
    assert len(split.images) == 4
    wanted = [np.asarray(Image.open(labelled_folder / name)).transpose(2, 0, 1) for name in split.files]
    assert np.array_equal(split.images.gather(torch.arange(4)).numpy(), np.stack(wanted))


def test_more_broken_files_than_allowed_are_an_error(damaged_folder: Path, decoded_paths: list[Path]) -> None:
    (damaged_folder / "train/dog/041.png").write_bytes(b"")
    wanted = (
        f"3 of 100 images of {damaged_folder} cannot be read, more than broken_limit = 0.02 allows:\n"
        "  train/cat/003.png: empty file\n"
        "  train/dog/040.png: not an image, or its header is damaged\n"
        "  train/dog/041.png: empty file\n"
        "Repair or remove them, or set broken_limit = 0.03 to skip them."
    )
    assert load_error(image_folder(damaged_folder, broken_limit=0.02)) == wanted
    assert len(image_folder(damaged_folder, broken_limit=0.03).load("train").images) == 97
    assert len(decoded_paths) == 100


def test_a_long_list_of_broken_files_is_shortened(damaged_folder: Path) -> None:
    for index in range(10, 20):
        (damaged_folder / f"train/cat/{index:03}.png").write_bytes(b"")
    text = load_error(image_folder(damaged_folder))
    assert text.startswith("13 of 100 images")
    assert text.count("empty file") == 10
    assert "\n  and 3 more\nRepair or remove them, or set broken_limit = 0.13 to" in text


def test_the_limit_that_an_error_proposes_suffices(write_image, root: Path) -> None:
    for index in range(7):
        write_image(f"{index}.png")
    (root / "3.png").write_bytes(b"")
    proposed = float(load_error(image_folder(root)).split("set broken_limit = ")[1].split(" ")[0])
    assert len(image_folder(root, broken_limit=proposed).load("train").images) == 6


def test_no_readable_image_is_always_an_error(root: Path) -> None:
    root.mkdir()
    (root / "a.png").write_bytes(b"")
    message = f"none of the 1 images of {root} can be read; the first is a.png: empty file."
    assert load_error(image_folder(root, broken_limit=1.0)).startswith(message)
    assert load_error(image_folder(root, broken_limit=1.0, size=8)).startswith(message)


def test_a_second_load_decodes_nothing(labelled_folder: Path, decoded_paths: list[Path]) -> None:
    first = image_folder(labelled_folder).load("train").images.to("cpu").images
    assert len(decoded_paths) == 12
    assert torch.equal(image_folder(labelled_folder).load("train").images.to("cpu").images, first)
    assert image_folder(labelled_folder, labels="none").load("train").labels is None
    assert len(decoded_paths) == 12
    image_folder(labelled_folder, channels=1).load("train")
    assert len(decoded_paths) == 24


def test_a_copied_or_touched_folder_is_the_same_content(
    labelled_folder: Path, tmp_path: Path, decoded_paths: list[Path]
) -> None:
    image_folder(labelled_folder).load("train")
    shutil.copytree(labelled_folder, tmp_path / "copy")
    os.utime(labelled_folder / "train/cat/0.png")
    image_folder(labelled_folder).load("train")
    image_folder(tmp_path / "copy").load("train")
    assert len(decoded_paths) == 12


def test_changed_content_with_old_time_stamps_is_decoded_again(
    labelled_folder: Path, decoded_paths: list[Path]
) -> None:
    path = labelled_folder / "train/cat/0.ppm"
    Image.new("RGB", (12, 10), (1, 2, 3)).save(path)
    before = path.stat()
    image_folder(labelled_folder).load("train")
    Image.new("RGB", (12, 10), (3, 2, 1)).save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    split = image_folder(labelled_folder).load("train")
    assert split.images.gather(torch.tensor([split.files.index("train/cat/0.ppm")]))[0, :, 0, 0].tolist() == [3, 2, 1]
    assert len(decoded_paths) == 26


def test_a_folder_that_changes_while_it_is_read_is_refused(
    labelled_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode_image = decoded_cache.decode_image

    def add_file(path: Path, *args: Any) -> Any:
        (labelled_folder / "train/cat/late.png").write_bytes(path.read_bytes())
        return decode_image(path, *args)

    monkeypatch.setattr(decoded_cache, "decode_image", add_file)
    assert load_error(image_folder(labelled_folder)) == (
        f"the files of {labelled_folder} changed while they were read. Try again when all files are there."
    )


def test_a_folder_that_changes_while_its_bytes_are_hashed_is_refused(
    labelled_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_hash = content_hash.file_hash

    def add_file(path: Path) -> str:
        (labelled_folder / "train/cat/late.png").write_bytes(path.read_bytes())
        return file_hash(path)

    monkeypatch.setattr(content_hash, "file_hash", add_file)
    monkeypatch.setattr(decoded_cache, "check_unchanged", lambda scan: None)
    assert "changed while they were read" in load_error(image_folder(labelled_folder))


def test_free_space_is_checked_before_anything_is_decoded(
    labelled_folder: Path, decoded_paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda path: SimpleNamespace(total=0, used=0, free=1000))
    assert "free" in load_error(image_folder(labelled_folder))
    assert decoded_paths == []


def test_a_damaged_cache_entry_is_an_error(labelled_folder: Path, cache: Path) -> None:
    image_folder(labelled_folder).load("train")
    (images,) = cache.glob("image-folder/*/images.npy")
    images.write_bytes(images.read_bytes()[:-10])
    text = load_error(image_folder(labelled_folder))
    assert text.startswith(f"the cache entry {images.parent} is damaged (")
    assert text.endswith("Delete that folder and try again.")
    shutil.rmtree(images.parent)
    assert len(image_folder(labelled_folder).load("train").images) == 8


BUILD_SCRIPT = """
import sys
import time
from pathlib import Path
from sslkit.data.datasets.folder import decoded_cache
from sslkit.data.datasets.image_folder import ImageFolder

ready, go, root = map(Path, sys.argv[1:])
build = decoded_cache._build
def wait_and_build(*args):
    ready.touch()
    while not go.exists():
        time.sleep(0.01)
    build(*args)
    print("built")
decoded_cache._build = wait_and_build
dataset = ImageFolder(ImageFolder.Options(root=root))
print(int(dataset.load("train").images.to("cpu").images.sum(dtype=int)))
"""


def test_two_processes_build_one_entry_at_once(labelled_folder: Path, cache: Path, tmp_path: Path) -> None:
    go = tmp_path / "go"
    ready = [tmp_path / f"ready{number}" for number in range(2)]
    script = tmp_path / "build.py"
    script.write_text(BUILD_SCRIPT)
    with ThreadPoolExecutor() as threads:
        started = [
            threads.submit(run_script, [str(path) for path in (script, one, go, labelled_folder)], os.environ, tmp_path)
            for one in ready
        ]
        while not all(file.exists() for file in ready):
            assert not any(process.done() for process in started)
            time.sleep(0.05)
        go.touch()
        outputs = [process.result().stdout.split() for process in started]
    total = int(image_folder(labelled_folder).load("train").images.to("cpu").images.sum(dtype=torch.int64))
    assert outputs == [["built", str(total)]] * 2
    assert len(list(cache.glob("image-folder/*/images.npy"))) == 1
    assert not list(cache.glob("image-folder/.building-*"))


def test_images_need_no_labels(labelled_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFolder, "_labels", property(lambda self: pytest.fail("labels were read")))
    assert len(image_folder(labelled_folder).images("train")) == 8


def test_a_missing_split_is_an_error(labelled_folder: Path) -> None:
    with pytest.raises(DataError, match=r"has no split 'validation'\. It has: train, test\.$"):
        image_folder(labelled_folder).load("validation")
