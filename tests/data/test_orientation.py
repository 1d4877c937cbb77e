"""The size from a file's header equals the size of the decoded image, for any metadata."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_files import png_chunk, write_tiff
from PIL import Image

from sslkit.data.image_files import decode_image, read_image_size

PIXELS = np.zeros((40, 80, 3), np.uint8)
PIXELS[:, :20] = 255

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%d"/></rdf:RDF></x:xmpmeta>'
)


def save(path: Path, exif: int | None, xmp: int | None) -> None:
    if path.suffix == ".tif":
        write_tiff(path, PIXELS, orientation=exif, xmp=XMP % xmp if xmp is not None else b"")
        return
    options: dict[str, object] = {"lossless": True} if path.suffix == ".webp" else {}
    if exif is not None:
        metadata = Image.Exif()
        metadata[0x0112] = exif
        options["exif"] = metadata
    if xmp is not None:
        options["xmp"] = XMP % xmp
    Image.fromarray(PIXELS).save(path, **options)


@pytest.mark.parametrize("exif", [None, 0, 1, 6, 8, 9, 300])
@pytest.mark.parametrize("xmp", [None, 1, 3, 6, 9])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_size_and_pixels_agree(name: str, exif: int | None, xmp: int | None, tmp_path: Path) -> None:
    """The EXIF orientation takes precedence over XMP. Values other than 1 to 8 mean upright."""
    if name == "a.png":
        xmp = None  # Pillow does not write XMP
    save(tmp_path / name, exif, xmp)
    stated = xmp if exif is None else exif
    expected = (80, 40) if stated in (6, 8) else (40, 80)
    assert read_image_size(tmp_path / name) == expected
    decoded = decode_image(tmp_path / name, 3, expected)
    assert not decoded.resized
    assert ("EXIF orientation" in decoded.conversions) == (stated in (3, 6, 8) and name != "a.tif")


@pytest.mark.parametrize("late", [False, True])
def test_metadata_after_the_pixels_of_a_png(late: bool, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    position = content.index(b"IEND" if late else b"IDAT") - 4
    chunk = png_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    (tmp_path / "a.png").write_bytes(content[:position] + chunk + content[position:])
    assert read_image_size(tmp_path / "a.png") == (80, 40)
    assert not decode_image(tmp_path / "a.png", 3, (80, 40)).resized


@pytest.mark.parametrize("tags", [b"no tags", b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x02\0\0\x006\0\0\0" + bytes(4)])
def test_damaged_metadata_and_text_count_as_upright(tags: bytes, tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + tags)
    assert read_image_size(tmp_path / "a.jpg") == (40, 80)
    assert not decode_image(tmp_path / "a.jpg", 3, (40, 80)).resized
