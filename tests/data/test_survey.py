"""What is told of a folder before a recipe is written for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslkit.data.datasets.folder import survey as module
from sslkit.data.datasets.folder.duplicates import across
from sslkit.data.datasets.folder.survey import survey
from sslkit.errors import DataError


def picture(seed: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Soft spots of colour, as photographs have."""
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Thirty pictures."""
    folder = tmp_path / "pictures"
    (folder / "train").mkdir(parents=True)
    for seed in range(30):
        picture(seed).save(folder / "train" / f"{seed:02}.png")
    return folder


def test_copies_and_look_alikes_are_told_apart_and_across_splits(root: Path) -> None:
    train, test = root / "train", root / "test"
    test.mkdir()
    shutil.copy(train / "03.png", train / "copy\n.png")
    shutil.copy(train / "03.png", test / "again.png")
    picture(5).save(train / "saved again.jpg", quality=80)
    picture(5).resize((32, 24), Image.Resampling.LANCZOS).save(test / "smaller.png")
    picture(6).point(lambda level: level * 0.7 + 20).save(train / "paler.png")
    Image.new("RGB", (9, 9), "red").save(train / "plain.png")
    Image.new("RGB", (8, 8), "red").save(train / "plain too.png")
    mirrored = picture(7).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    mirrored.save(train / "another.png")

    found = survey(root)
    assert found.copies == (("train/03.png", "train/copy\n.png", "test/again.png"),)
    assert found.look_alikes == (
        ("test/smaller.png", "train/05.png", "train/saved again.jpg"),
        ("train/06.png", "train/paler.png"),
    )
    assert across(found.copies, found.tree) == 1
    assert across(found.look_alikes, found.tree) == 1


def test_files_of_one_size_are_no_copies_unless_their_bytes_are(tmp_path: Path) -> None:
    for name, level in (("a.bmp", 10), ("b.bmp", 20), ("c.bmp", 10)):
        Image.new("L", (8, 8), level).save(tmp_path / name)
    assert survey(tmp_path).copies == (("a.bmp", "c.bmp"),)


def test_sizes_colour_and_what_is_broken(root: Path) -> None:
    train = root / "train"
    picture(40, (20, 90)).save(train / "tall.png")
    picture(41).convert("L").save(train / "grey.png")
    picture(42).convert("L").convert("CMYK").save(train / "print.tif")
    (train / "broken.png").write_bytes(b"no image")
    (train / "empty.jpg").write_bytes(b"")
    (train / "notes.txt").write_text("")
    found = survey(root)
    assert found.looked == 35
    assert found.images == 33
    assert found.broken == {
        "train/broken.png": "not an image, or damaged from the start",
        "train/empty.jpg": "empty file",
    }
    assert found.sizes == {(48, 64): 32, (90, 20): 1}
    assert found.shorter_sides == (20, 48, 48)
    assert found.converted == {"CMYK": 1, "L": 1}
    assert found.colour == pytest.approx(31 / 33)
    assert found.background is None
    assert found.tree.ignored == {".txt": 1}


@pytest.mark.parametrize(("others", "level"), [(2, 240), (4, None)])
def test_a_background_is_what_nearly_all_edges_show(tmp_path: Path, others: int, level: int | None) -> None:
    generator = np.random.default_rng(0)
    for number in range(30):
        pixels = np.full((28, 28), 60 if number < others else 240, dtype=np.uint8)
        pixels[6:22, 6:22] = generator.integers(0, 100, (16, 16))
        Image.fromarray(pixels).save(tmp_path / f"{number:02}.png")
    found = survey(tmp_path)
    assert found.background == level
    assert found.colour == 0


def test_of_many_images_some_are_opened_spread_evenly(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 4)
    (root / "train" / "07.png").write_bytes(b"no image")
    found = survey(root)
    assert (found.looked, sum(found.sizes.values()), list(found.broken)) == (4, 3, ["train/07.png"])
    assert found.images == 22, "a quarter of what was opened is broken"
    assert survey(root, every=True).images == 29


def test_a_folder_without_a_readable_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError) as error:
        survey(tmp_path)
    assert str(error.value) == f"none of the 1 images of {tmp_path} can be read; the first is a.png: empty file."
