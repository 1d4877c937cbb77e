"""Pascal VOC and Oxford-IIIT Pet, on small files in the layout of the real data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from sslkit import DataError
from sslkit_segmentation.torchvision_masks import MaskedDataset, OxfordPets, PascalVoc


def build(kind: type[MaskedDataset], root: Path, **options: Any) -> MaskedDataset:
    return kind(kind.Options.model_validate({"root": str(root), "download": False, "size": 32, **options}))


def write_image(path: Path, left: int, right: int, mode: str) -> None:
    """Write an image of 64 x 32 pixels with one value in the left half and a second value in the right half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((32, 64), left, dtype=np.uint8)
    pixels[:, 32:] = right
    image = Image.fromarray(pixels)
    if mode == "P":
        image.putpalette([value for value in range(256) for _ in range(3)])
    image.convert("RGB" if mode == "RGB" else image.mode).save(path)


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    base = tmp_path / "VOCdevkit" / "VOC2012"
    for name, value in (("a", 200), ("b", 100), ("c", 50)):
        write_image(base / "JPEGImages" / f"{name}.jpg", value, 0, "RGB")
        write_image(base / "SegmentationClass" / f"{name}.png", 15, 255, "P")
    sets = base / "ImageSets" / "Segmentation"
    sets.mkdir(parents=True)
    (sets / "train.txt").write_text("a\nb\n")
    (sets / "val.txt").write_text("c\n")
    return tmp_path


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    base = tmp_path / "oxford-iiit-pet"
    for name in ("Abyssinian_1", "Abyssinian_2", "beagle_1", "beagle_2"):
        write_image(base / "images" / f"{name}.jpg", 200, 0, "RGB")
        write_image(base / "annotations" / "trimaps" / f"{name}.png", 1, 2, "L")
    write_image(base / "annotations" / "trimaps" / "beagle_2.png", 3, 2, "L")
    (base / "annotations" / "trainval.txt").write_text("Abyssinian_1 1 1 1\nbeagle_1 2 2 1\n")
    (base / "annotations" / "test.txt").write_text("beagle_2 2 2 1\nAbyssinian_2 1 1 1\n")
    return tmp_path


def test_pascal_voc(voc: Path) -> None:
    dataset = build(PascalVoc, voc)
    train, test = dataset.load("train"), dataset.load("test")
    assert (train.images.shape, len(train.images), len(test.images)) == ((3, 32, 32), 2, 1)
    assert (train.labels, dataset.class_names, len(dataset.mask_names)) == (None, (), 21)
    assert train.masks is not None
    assert dataset.mask_names[15] == "person"
    # In the central square, the bright left half is a person, and the dark right half has no class.
    assert bool((train.masks[:, :, :16] == 15).all())
    assert bool((train.masks[:, :, 16:] == 255).all())
    pixels = train.images.gather(torch.tensor([0])).float()
    assert pixels[..., :12].mean() > 190
    assert pixels[..., 20:].mean() < 10


def test_oxford_pets(pets: Path) -> None:
    dataset = build(OxfordPets, pets, size=64)
    train, test = dataset.load("train"), dataset.load("test")
    assert (train.images.shape, dataset.mask_names) == ((3, 64, 64), ("background", "pet"))
    assert dataset.class_names == ("Abyssinian", "Beagle")
    assert train.labels is not None
    assert train.masks is not None
    assert test.masks is not None
    assert train.labels.tolist() == [0, 1]
    assert train.masks[0, 5, [0, 63]].tolist() == [1, 0]
    assert test.masks[0, 5, [0, 63]].tolist() == [255, 0]


def test_existing_files_are_neither_unpacked_nor_downloaded_again(voc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError("nothing is missing")

    monkeypatch.setattr(torchvision.datasets.voc, "download_and_extract_archive", refuse)
    assert len(build(PascalVoc, voc, download=True).load("train").images) == 2
    next((voc / "VOCdevkit" / "VOC2012" / "SegmentationClass").glob("a.png")).unlink()
    with pytest.raises(DataError, match="nothing is missing"):
        build(PascalVoc, voc, download=True).load("train")


def test_a_damaged_file_is_named(voc: Path) -> None:
    (voc / "VOCdevkit" / "VOC2012" / "JPEGImages" / "b.jpg").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"image 1 of VOCSegmentation's train split in .* is damaged"):
        build(PascalVoc, voc).load("train")


@pytest.mark.parametrize("kind", [PascalVoc, OxfordPets])
def test_the_error_for_missing_files_says_what_to_do(kind: type[MaskedDataset], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Set download = true to download it"):
        build(kind, tmp_path).load("train")
