"""Messages name the format of valid files that sslkit cannot read, without further output on the terminal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_files import write_tiff
from PIL import Image

from sslkit.data.datasets.folder.survey import survey_folder
from sslkit.data.datasets.image_folder import ImageFolder
from sslkit.data.image_files import decode_image
from sslkit.data.pillow_messages import quiet_pillow
from sslkit.data.unreadable_images import UnreadableImageError

BYTES = np.arange(8 * 8 * 8, dtype=np.uint8).reshape(8, 8, 8)

JPEG_HEADER = b"\xff\xd8\xff\xc1\0\x11%c\0\x10\0\x10\x03\x01\x22\0\x02\x11\x01\x03\x11\x01\xff\xda" + bytes(100)

OTHER_FILES = {
    "an image in HEIC format": b"\0\0\0\x18ftypheic",
    "an image in AVIF format": b"\0\0\0\x18ftypavif",
    "a Photoshop image": b"8BPS\0\x01",
    "a camera raw image": b"II*\0\x10\0\0\0CR\x02\0",
    "a JPEG 2000 image": b"\0\0\0\x0cjP  \r\n",
    "a DICOM file": bytes(128) + b"DICM",
    "an SVG drawing": b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg width="9">',
    "a web page": b"\n<!DOCTYPE html>\n<html>",
    "a PDF document": b"%PDF-1.7",
    "a video": b"\0\0\0\x18ftypisom",
    "a Git LFS pointer (`git lfs pull` fetches the image)": b"version https://git-lfs.github.com/spec/v1\noid",
}


def reason(path: Path) -> str:
    with quiet_pillow(), pytest.raises(UnreadableImageError) as caught:
        decode_image(path, 3, (8, 8))
    return str(caught.value)


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_files_of_other_formats_are_named(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(OTHER_FILES[kind])
    assert reason(tmp_path / "a.jpg") == f"{kind}; JPEG, PNG, WebP, BMP, GIF, TIFF and PPM can be read"


@pytest.mark.parametrize(
    ("pixels", "tags", "found"),
    [
        (BYTES[..., :5], {}, "a TIFF of 5 channels of 8-bit unsigned numbers (RGB);"),
        (BYTES[..., :4], {"photometric": 1}, "a TIFF of 4 channels of 8-bit unsigned numbers (grey);"),
        (BYTES[..., :4].astype(np.float32), {"photometric": 5, "sample_format": 3}, "32-bit float numbers (CMYK);"),
        (BYTES[..., :1].astype(np.float64), {"photometric": 1, "sample_format": 3}, "64-bit float numbers (grey);"),
        (BYTES[..., :3], {"compression": 34887}, "(RGB, compression 34887);"),
        (BYTES[..., :3].astype(np.uint16), {"planar": 2}, "a TIFF of 16-bit channels in separate planes;"),
    ],
)
def test_tiffs_that_pillow_cannot_read_are_described(
    pixels: np.ndarray, tags: dict[str, int], found: str, tmp_path: Path
) -> None:
    write_tiff(tmp_path / "a.tif", pixels, **tags)  # type: ignore[arg-type]
    text = reason(tmp_path / "a.tif")
    assert found in text
    assert "damaged" not in text
    assert "TIFFs can be read with 1 to 16 bits in grey" in text or "store them interleaved" in text


def test_a_jpeg_of_12_bits_is_described(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG_HEADER % 12)
    assert reason(tmp_path / "a.jpg").startswith("a JPEG with 12-bit layers; ")


@pytest.mark.parametrize("extra", [None, (0,), (1,), (2,), (0, 0), (2, 0)])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_the_fourth_channel_of_a_tiff_is_transparency_only_if_its_tag_says_so(
    extra: tuple[int, ...] | None, depth: type, tmp_path: Path
) -> None:
    if depth == np.uint16 and extra in ((0, 0), (2, 0)):
        pytest.skip("Pillow reads no such files")
    pixels = np.full((4, 4, 3 + len(extra or (0,))), 100, np.uint8).astype(depth) * (257 if depth == np.uint16 else 1)
    write_tiff(tmp_path / "a.tif", pixels, extra=extra)
    decoded = decode_image(tmp_path / "a.tif", 3, (4, 4))
    transparent = bool({1, 2} & set(extra or ()))
    assert (decoded.pixels[0, 0, 0] != 100) == transparent
    assert ("additional channel ignored" in decoded.conversions) == (not transparent or len(extra or ()) > 1)


def test_pillow_and_libtiff_print_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    (folder := tmp_path / "pictures").mkdir()
    for index in range(20):
        Image.fromarray(BYTES[..., :3]).save(folder / f"{index}.png")
    write_tiff(folder / "many.tif", np.zeros((8, 8, 40), np.uint8))
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg"):
        noise.save(path := folder / f"{compression}.tif", compression=compression)
        content = path.read_bytes()
        path.write_bytes(content[:10] + bytes(4000) + content[4010:])
    survey = survey_folder(folder)
    dataset = ImageFolder(ImageFolder.Options(root=folder, broken_limit=0.5))
    assert len(dataset.images("train")) == 20
    assert list(dataset.report()["broken"]) == [{"file": file, "reason": text} for file, text in survey.broken.items()]
    assert survey.broken["tiff_lzw.tif"] == (
        "a TIFF whose pixels are damaged, or compressed in a way that Pillow cannot read here (tiff_lzw)"
    )
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
