"""Images with more than 8 bits are scaled by one range for the whole folder."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import write_png16, write_tiff
from PIL import Image, TiffImagePlugin
from pydantic import ValidationError

from sslkit.data.datasets.folder.survey import survey_folder
from sslkit.data.datasets.image_folder import ImageFolder
from sslkit.data.image_files import decode_image
from sslkit.data.unreadable_images import UnreadableImageError
from sslkit.data.value_range import Extent, suggest_range
from sslkit.errors import DataError
from sslkit.proposal.folder_facts import FolderFacts
from sslkit.proposal.write_recipe import propose_recipe

TWELVE_BITS = np.random.default_rng(0).integers(0, 4096, (9, 7, 4)).astype(np.uint16)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Folder of ten 12-bit images in 16-bit files. Images with odd numbers are at most half as bright as the others."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    ramp = np.linspace(0, 4095, 32 * 32).reshape(32, 32)
    for index in range(10):
        Image.fromarray((ramp / (1 + index % 2)).astype(np.uint16)).save(folder / f"{index}.png")
    return folder


def image_folder(root: Path, **options: object) -> ImageFolder:
    return ImageFolder(ImageFolder.Options.model_validate({"root": root, "channels": 1, **options}))


def test_twelve_bit_images_keep_their_levels_if_the_range_is_given(root: Path) -> None:
    plain, scaled = image_folder(root), image_folder(root, value_range=(0, 4095))
    assert len(torch.unique(plain.images("train").to("cpu").images)) == 17
    images = scaled.images("train").to("cpu").images
    assert (len(torch.unique(images)), int(images[0].max()), int(images[1].max())) == (256, 255, 127)
    (note,) = [note for note in plain.notes() if "levels" in note]
    assert note == (
        "warning: 10 images have the integer values 0 to 4095 of 65535: 17 of 256 levels are used. "
        "To use all levels, set data.value_range = [0, 4095]"
    )
    assert "value_range = [0, 4095] scales 10 images with the integer values 0 to 4095" in "\n".join(scaled.notes())
    assert plain.report()["values"] == [{"kind": "integer", "low": 0.0, "high": 4095.0, "images": 10}]


def test_values_outside_the_range_are_clipped_and_counted(root: Path) -> None:
    dataset = image_folder(root, value_range=(100, 2047))
    images = dataset.images("train").to("cpu").images
    assert (int(images[0].min()), int(images[0].max())) == (0, 255)
    assert dataset.report()["converted"]["values outside value_range clipped"] == 10
    assert "10 values outside value_range clipped" in "\n".join(dataset.notes())


def test_proposed_recipe_has_the_range_and_its_reason(root: Path) -> None:
    survey = survey_folder(root)
    assert survey.extents == (Extent("integer", 0, 4095, 10),)
    text = propose_recipe(root, FolderFacts.from_survey(survey, has_gpu=False))
    assert tomllib.loads(text)["data"]["value_range"] == [0, 4095]
    assert "17 of 256 levels would be used" in " ".join(text.replace("\n# ", " ").split())


def test_proposed_range_of_values_that_cannot_be_read_without_it(tmp_path: Path) -> None:
    folder = tmp_path / "tomography"
    folder.mkdir()
    for index in range(8):
        Image.fromarray(np.full((16, 16), 500 * index - 1000, dtype=np.int32)).save(folder / f"{index}.tif")
    text = " ".join(
        propose_recipe(folder, FolderFacts.from_survey(survey_folder(folder), has_gpu=False))
        .replace("\n# ", " ")
        .split()
    )
    assert "values are -1000 to 2500: without this range, files with values outside 0 to 65535 cannot be read." in text
    assert "levels would be used" not in text


def test_a_range_without_effect_is_reported(write_image, tmp_path: Path) -> None:
    write_image("a.png")
    dataset = image_folder(tmp_path / "pictures", value_range=(0, 4095))
    assert "value_range has no effect: no image has more than 8 bits" in dataset.notes()


@pytest.mark.parametrize("value_range", [(5, 5), (5, 1), (0,), (0, float("inf")), "image"])
def test_invalid_ranges_are_refused(tmp_path: Path, value_range: object) -> None:
    with pytest.raises(ValidationError):
        image_folder(tmp_path, value_range=value_range)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(("name", "libtiff"), [("a.png", False), ("a.tif", False), ("a.tif", True)])
def test_sixteen_bit_colour_is_scaled_in_all_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, libtiff: bool, channels: int
) -> None:
    monkeypatch.setattr(TiffImagePlugin, "READ_LIBTIFF", libtiff)
    pixels = TWELVE_BITS[..., :channels].copy()
    pixels[..., 3:] = 65535  # opaque
    if name == "a.png":
        write_png16(tmp_path / name, pixels)
    else:
        write_tiff(tmp_path / name, pixels, extra=(2,) if channels == 4 else None)
    decoded = decode_image(tmp_path / name, 3, (9, 7), (0, 4095))
    wanted = np.round(pixels[..., :3].astype(float) / 4095 * 255).astype(np.uint8)
    assert np.array_equal(decoded.pixels, wanted.transpose(2, 0, 1))
    assert decoded.extent == Extent("integer", pixels[..., :3].min(), pixels[..., :3].max())
    plain = decode_image(tmp_path / name, 3, (9, 7))
    assert plain.pixels.max() == 15
    assert plain.extent == Extent("integer", 0, 4095)


def test_grey_with_transparency_of_16_bits_has_no_value_range(tmp_path: Path) -> None:
    write_png16(tmp_path / "a.png", TWELVE_BITS[..., :2])
    with pytest.raises(UnreadableImageError, match="can only be read as 8 bits, without value_range"):
        decode_image(tmp_path / "a.png", 1, (9, 7), (0, 4095))
    assert decode_image(tmp_path / "a.png", 1, (9, 7)).extent is not None


@pytest.mark.parametrize(
    ("kind", "low", "high", "suggested"),
    [
        ("integer", 0, 4095, (0, 4095)),
        ("integer", 7, 1000, (0, 1023)),
        ("integer", 0, 40_000, None),
        ("integer", 30_000, 33_000, (30_000, 33_000)),
        ("integer", -1024, 3071, (-1024, 3071)),
        ("integer", 0, 100_000, (0, 131_071)),
        ("integer", 5, 5, None),
        ("float", 0, 0.00999, (0, 0.01)),
        ("float", 0, 0.7, None),
        ("float", 0, 254.6, (0, 255)),
        ("float", -1.5, 2.5, (-1.5, 2.5)),
        ("float", 0, 3100, (0, 3100)),
    ],
)
def test_suggested_range(kind: str, low: float, high: float, suggested: tuple[float, float] | None) -> None:
    assert suggest_range([Extent(kind, low, high)]) == suggested  # type: ignore[arg-type]
    assert suggest_range([Extent("integer", 0, 10), Extent("float", 0, 0.1)]) is None


@pytest.mark.parametrize("top", [0.01, 5000.0])
def test_floats_outside_or_at_the_bottom_of_the_unit_range_get_a_range(tmp_path: Path, top: float) -> None:
    folder = tmp_path / "floats"
    folder.mkdir()
    for index in range(8):
        values = np.linspace(0, top, 256, dtype=np.float32).reshape(16, 16)
        Image.fromarray(values / (1 + index / 100)).save(folder / f"{index}.tif")
    suggested = suggest_range(survey_folder(folder).extents)
    assert suggested == (0, top)
    assert len(torch.unique(image_folder(folder, value_range=suggested).images("train").to("cpu").images)) > 240
    if top > 1:
        with pytest.raises(DataError, match="without value_range they must be 0 to 1"):
            image_folder(folder).images("train")


def test_the_survey_looks_at_images_in_their_common_range(root: Path) -> None:
    plain = np.full((32, 32), 4000, dtype=np.uint16)
    for index in range(10):
        plain[8:24, 8:24] = np.random.default_rng(index).integers(0, 2000, (16, 16))
        Image.fromarray(plain).save(root / f"{index}.png")
    assert survey_folder(root).background_level == pytest.approx(4000 / 4095 * 255, abs=1)
