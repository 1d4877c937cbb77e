"""Facts that ``sslkit init`` collects about a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslkit.data.datasets.folder import survey as survey_module
from sslkit.data.datasets.folder.duplicate_groups import across_splits
from sslkit.data.datasets.folder.survey import survey_folder
from sslkit.errors import DataError


def picture(seed: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Return an image with smooth colour gradients, similar to a photograph."""
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Folder of thirty pictures."""
    folder = tmp_path / "pictures"
    (folder / "train").mkdir(parents=True)
    for seed in range(30):
        picture(seed).save(folder / "train" / f"{seed:02}.png")
    return folder


def test_exact_and_near_duplicates_are_found_also_across_splits(root: Path) -> None:
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

    survey = survey_folder(root)
    assert survey.exact_duplicates == (("train/03.png", "train/copy\n.png", "test/again.png"),)
    assert survey.near_duplicates == (
        ("test/smaller.png", "train/05.png", "train/saved again.jpg"),
        ("train/06.png", "train/paler.png"),
    )
    assert across_splits(survey.exact_duplicates, survey.scan) == survey.exact_duplicates
    assert across_splits(survey.near_duplicates, survey.scan) == survey.near_duplicates[:1]


def test_files_of_one_size_with_different_bytes_are_not_exact_duplicates(tmp_path: Path) -> None:
    for name, level in (("a.bmp", 10), ("b.bmp", 20), ("c.bmp", 10)):
        Image.new("L", (8, 8), level).save(tmp_path / name)
    assert survey_folder(tmp_path).exact_duplicates == (("a.bmp", "c.bmp"),)


def test_sizes_colours_and_broken_files(root: Path) -> None:
    train = root / "train"
    picture(40, (20, 90)).save(train / "tall.png")
    picture(41).convert("L").save(train / "grey.png")
    picture(42).convert("L").convert("CMYK").save(train / "print.tif")
    (train / "broken.png").write_bytes(b"no image")
    (train / "empty.jpg").write_bytes(b"")
    (train / "notes.txt").write_text("")
    survey = survey_folder(root)
    assert survey.opened == 35
    assert survey.images == 33
    assert survey.broken == {
        "train/broken.png": "not an image, or its header is damaged",
        "train/empty.jpg": "empty file",
    }
    assert survey.sizes == {(48, 64): 32, (90, 20): 1}
    assert survey.shorter_sides == (20, 48, 48)
    assert survey.converted == {"CMYK": 1, "L": 1}
    assert survey.colour_share == pytest.approx(31 / 33)
    assert survey.background_level is None
    assert survey.scan.ignored == {".txt": 1}


@pytest.mark.parametrize(("others", "level"), [(2, 240), (4, None)])
def test_the_background_level_is_common_to_nearly_all_edges(tmp_path: Path, others: int, level: int | None) -> None:
    generator = np.random.default_rng(0)
    for number in range(30):
        pixels = np.full((28, 28), 60 if number < others else 240, dtype=np.uint8)
        pixels[6:22, 6:22] = generator.integers(0, 100, (16, 16))
        Image.fromarray(pixels).save(tmp_path / f"{number:02}.png")
    survey = survey_folder(tmp_path)
    assert survey.background_level == level
    assert survey.colour_share == 0


def test_evenly_spaced_images_of_many_are_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey_module, "MAX_OPENED", 4)
    (root / "train" / "07.png").write_bytes(b"no image")
    survey = survey_folder(root)
    assert (survey.opened, sum(survey.sizes.values()), list(survey.broken)) == (4, 3, ["train/07.png"])
    assert survey.images == 22, "a quarter of what was opened is broken"
    assert survey_folder(root, every=True).images == 29


def test_a_folder_without_readable_images_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError) as error:
        survey_folder(tmp_path)
    assert f"none of the 1 images of {tmp_path} can be read; the first is a.png: empty file." in str(error.value)
