from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from sslkit.data import cache as cache_module
from sslkit.data.datasets.folder import content, decoded
from sslkit.data.datasets.image_folder import ImageFolder
from sslkit.errors import DataError


def folder(root: Path, **options: Any) -> ImageFolder:
    return ImageFolder(ImageFolder.Options(root=root, **options))


def message(dataset: ImageFolder) -> str:
    with pytest.raises(DataError) as caught:
        dataset.load("train")
    return str(caught.value)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "pictures"


@pytest.fixture
def labelled(paint, root: Path) -> Path:
    for split, count in (("train", 4), ("test", 2)):
        for place in range(count):
            for name in ("dog", "cat"):
                paint(f"{split}/{name}/{place}.png", seed=place + len(name + split))
    return root


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were decoded."""
    seen: list[Path] = []
    original = decoded.decode

    def decode(path: Path, *args: Any) -> Any:
        seen.append(path)
        return original(path, *args)

    monkeypatch.setattr(decoded, "decode", decode)
    return seen


def test_a_labelled_folder(labelled: Path) -> None:
    dataset = folder(labelled)
    assert dataset.splits == ("train", "test")
    assert dataset.class_names == ("cat", "dog")
    for split, count in (("train", 8), ("test", 4)):
        loaded = dataset.load(split)
        assert len(loaded.images) == len(loaded.files) == count
        assert loaded.images.shape == (3, 10, 12)
        assert loaded.labels is not None
        assert loaded.labels.dtype == torch.int64
        for place, name in enumerate(loaded.files):
            assert name.startswith(f"{split}/{dataset.class_names[loaded.labels[place]]}/")
            wanted = np.asarray(Image.open(labelled / name)).transpose(2, 0, 1)
            assert np.array_equal(loaded.images.gather(torch.tensor([place]))[0].numpy(), wanted)
    assert dataset.report() == {
        "read": {"train": "labelled: 2 class folders", "test": "labelled: 2 class folders"},
        "broken": [],
        "ignored": {},
        "unread": [],
        "converted": {},
        "size": [3, 10, 12],
        "resized": 0,
    }


def test_options_are_checked_without_looking_at_the_folder() -> None:
    assert folder(Path("~/nowhere")).options.root == Path("~/nowhere").expanduser()
    assert ImageFolder.Options.model_validate({"root": "some/where"}).root == Path("some/where")
    for wrong in ({"size": 4}, {"size": "big"}, {"channels": 4}, {"labels": "maybe"}, {"broken_limit": 2}, {"root": 3}):
        with pytest.raises(ValidationError):
            ImageFolder.Options.model_validate({"root": "some/where", **wrong})


def test_images_of_odd_sizes_become_squares_of_their_median_side(paint, root: Path) -> None:
    for place, size in enumerate([(20, 30), (24, 24), (90, 28)]):
        paint(f"{place}.png", size)
    dataset = folder(root)
    assert dataset.load("train").images.shape == (3, 24, 24)
    assert dataset.report()["resized"] == 2
    assert folder(root, size=16, channels=1).load("train").images.shape == (1, 16, 16)


def test_images_that_all_are_large_are_made_smaller(paint, root: Path) -> None:
    paint("a.png", (400, 300))
    assert folder(root).load("train").images.shape == (3, 256, 256)


def test_conversions_are_counted(paint, root: Path) -> None:
    picture = Image.open(paint("a.png"))
    for place in range(2):
        picture.convert("RGBA").save(root / f"rgba{place}.png")
    picture.convert("L").save(root / "grey.png")
    assert folder(root).report()["converted"] == {"L": 1, "RGBA": 2}


BROKEN = {"train/cat/003.png": "empty file", "train/dog/040.png": "not an image, or damaged from the start"}


@pytest.fixture
def damaged(paint, root: Path) -> Path:
    """100 images, 3 % broken."""
    for place in range(50):
        for name in ("cat", "dog"):
            paint(f"train/{name}/{place:03}.png", seed=place)
    (root / "train/cat/003.png").write_bytes(b"")
    (root / "train/dog/040.png").write_bytes(b"no picture")
    cut = root / "train/dog/041.png"
    cut.write_bytes(cut.read_bytes()[:200])
    return root


def test_broken_files_are_skipped_and_each_is_named_once(damaged: Path) -> None:
    dataset = folder(damaged)
    split = dataset.load("train")
    assert len(split.images) == len(split.files) == 97
    report = dataset.report()
    named = {item["file"]: item["reason"] for item in report["broken"]}
    assert len(report["broken"]) == 3
    assert named.items() >= BROKEN.items()
    assert "truncated" in named["train/dog/041.png"]
    assert not set(named) & set(split.files)
    for place in (2, 3, 96):  # before, at and after the gap
        wanted = np.asarray(Image.open(damaged / split.files[place])).transpose(2, 0, 1)
        assert np.array_equal(split.images.gather(torch.tensor([place]))[0].numpy(), wanted)
    assert split.labels is not None
    assert split.labels.tolist() == [0] * 49 + [1] * 48


def test_a_broken_file_of_one_split_does_not_shift_another(labelled: Path) -> None:
    (labelled / "train/cat/0.png").write_bytes(b"")
    split = folder(labelled, broken_limit=0.1).load("test")
    assert len(split.images) == 4
    wanted = [np.asarray(Image.open(labelled / name)).transpose(2, 0, 1) for name in split.files]
    assert np.array_equal(split.images.gather(torch.arange(4)).numpy(), np.stack(wanted))


def test_more_broken_files_than_allowed_are_an_error(damaged: Path, decodes: list[Path]) -> None:
    (damaged / "train/dog/041.png").write_bytes(b"")
    wanted = (
        f"3 of 100 images of {damaged} cannot be read, more than broken_limit = 0.02 allows:\n"
        "  train/cat/003.png: empty file\n"
        "  train/dog/040.png: not an image, or damaged from the start\n"
        "  train/dog/041.png: empty file\n"
        "Repair or remove them, or raise broken_limit to 0.03 to go on without them."
    )
    assert message(folder(damaged, broken_limit=0.02)) == wanted
    assert len(folder(damaged, broken_limit=0.03).load("train").images) == 97
    assert len(decodes) == 100


def test_a_long_list_of_broken_files_is_cut(damaged: Path) -> None:
    for place in range(10, 20):
        (damaged / f"train/cat/{place:03}.png").write_bytes(b"")
    text = message(folder(damaged))
    assert text.startswith("13 of 100 images")
    assert text.count("empty file") == 10
    assert "\n  and 3 more\nRepair or remove them, or raise broken_limit to 0.13 to" in text


def test_the_limit_that_an_error_proposes_is_enough(paint, root: Path) -> None:
    for place in range(7):
        paint(f"{place}.png")
    (root / "3.png").write_bytes(b"")
    proposed = float(message(folder(root)).split("raise broken_limit to ")[1].split(" ")[0])
    assert len(folder(root, broken_limit=proposed).load("train").images) == 6


def test_no_readable_image_is_always_an_error(root: Path) -> None:
    root.mkdir()
    (root / "a.png").write_bytes(b"")
    wanted = f"none of the 1 images of {root} can be read; the first is a.png: empty file."
    assert message(folder(root, broken_limit=1.0)) == wanted
    assert message(folder(root, broken_limit=1.0, size=8)) == wanted


def test_a_second_start_decodes_nothing(labelled: Path, decodes: list[Path]) -> None:
    first = folder(labelled).load("train").images.resident().images
    assert len(decodes) == 12
    assert torch.equal(folder(labelled).load("train").images.resident().images, first)
    assert folder(labelled, labels="none").load("train").labels is None
    assert len(decodes) == 12
    folder(labelled, channels=1).load("train")
    assert len(decodes) == 24


def test_a_copied_or_touched_folder_is_the_same_content(labelled: Path, tmp_path: Path, decodes: list[Path]) -> None:
    folder(labelled).load("train")
    shutil.copytree(labelled, tmp_path / "copy")
    os.utime(labelled / "train/cat/0.png")
    folder(labelled).load("train")
    folder(tmp_path / "copy").load("train")
    assert len(decodes) == 12


def test_changed_content_is_decoded_again_even_behind_old_time_stamps(labelled: Path, decodes: list[Path]) -> None:
    path = labelled / "train/cat/0.ppm"
    Image.new("RGB", (12, 10), (1, 2, 3)).save(path)
    before = path.stat()
    folder(labelled).load("train")
    Image.new("RGB", (12, 10), (3, 2, 1)).save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    split = folder(labelled).load("train")
    assert split.images.gather(torch.tensor([split.files.index("train/cat/0.ppm")]))[0, :, 0, 0].tolist() == [3, 2, 1]
    assert len(decodes) == 26


def test_a_folder_that_changes_while_it_is_read_is_refused(labelled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = decoded.decode

    def decode(path: Path, *args: Any) -> Any:
        (labelled / "train/cat/late.png").write_bytes(path.read_bytes())
        return original(path, *args)

    monkeypatch.setattr(decoded, "decode", decode)
    assert message(folder(labelled)) == (
        f"the files of {labelled} changed while they were read. Try again when they are all there."
    )


def test_a_folder_that_changes_while_its_bytes_are_hashed_is_refused(
    labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = content.digest

    def digest(path: Path) -> str:
        (labelled / "train/cat/late.png").write_bytes(path.read_bytes())
        return original(path)

    monkeypatch.setattr(content, "digest", digest)
    monkeypatch.setattr(decoded, "check_unchanged", lambda tree: None)
    assert "changed while they were read" in message(folder(labelled))


def test_room_is_looked_for_before_anything_is_decoded(
    labelled: Path, decodes: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda path: SimpleNamespace(total=0, used=0, free=1000))
    assert "free" in message(folder(labelled))
    assert decodes == []


def test_a_damaged_entry_is_told(labelled: Path, cache: Path) -> None:
    folder(labelled).load("train")
    (images,) = cache.glob("image-folder/*/images.npy")
    images.write_bytes(images.read_bytes()[:-10])
    text = message(folder(labelled))
    assert text.startswith(f"the cache entry {images.parent} is damaged (")
    assert text.endswith("Delete that folder and try again.")
    shutil.rmtree(images.parent)
    assert len(folder(labelled).load("train").images) == 8


BUILD = """
import sys
import time
from pathlib import Path
from sslkit.data.datasets.folder import decoded
from sslkit.data.datasets.image_folder import ImageFolder

ready, go, root = map(Path, sys.argv[1:])
build = decoded._build
def wait_and_build(*args):
    ready.touch()
    while not go.exists():
        time.sleep(0.01)
    build(*args)
    print("built")
decoded._build = wait_and_build
dataset = ImageFolder(ImageFolder.Options(root=root))
print(int(dataset.load("train").images.resident().images.sum(dtype=int)))
"""


def test_two_processes_that_build_at_once(labelled: Path, cache: Path, tmp_path: Path) -> None:
    go = tmp_path / "go"
    ready = [tmp_path / f"ready{number}" for number in range(2)]
    started = [
        subprocess.Popen([sys.executable, "-c", BUILD, one, go, labelled], stdout=subprocess.PIPE, text=True)
        for one in ready
    ]
    while not all(one.exists() for one in ready):
        assert all(process.poll() is None for process in started)
        time.sleep(0.05)
    go.touch()
    outputs = [process.communicate(timeout=60)[0].split() for process in started]
    total = int(folder(labelled).load("train").images.resident().images.sum(dtype=torch.int64))
    assert outputs == [["built", str(total)]] * 2
    assert len(list(cache.glob("image-folder/*/images.npy"))) == 1
    assert not list(cache.glob("image-folder/.building-*"))


def test_images_need_no_labels(labelled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFolder, "_labels", property(lambda self: pytest.fail("labels were read")))
    assert len(folder(labelled).images("train")) == 8


def test_a_split_that_is_not_there(labelled: Path) -> None:
    with pytest.raises(DataError, match=r"has no split 'validation'; it has train, test\.$"):
        folder(labelled).load("validation")
