"""Orientation of images, for decoding and for reading sizes.

The EXIF orientation is used, or the XMP orientation if there is no EXIF orientation. If the value is not 1 to 8, or the
metadata are damaged, the image counts as upright.
"""

from __future__ import annotations

import os
import struct

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngImageFile

TRANSPOSE_BY_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Transposition that makes an image upright, keyed by orientation."""

SWAPPED = (5, 6, 7, 8)
"""Orientations that swap height and width."""

_PNG_METADATA = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")


def transposition(image: Image.Image) -> Image.Transpose | None:
    """Return the transposition that makes a loaded image upright, or None if it is upright.

    The result is always None for TIFF, because Pillow makes these images upright when it loads them.
    """
    return TRANSPOSE_BY_ORIENTATION.get(_orientation(image))


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return the size ``(H, W)`` of the upright image, for an image that was opened but not loaded.

    Pixels are loaded only for a PNG with metadata after its pixels.
    """
    if isinstance(image, PngImageFile) and _has_late_metadata(image):
        image.load()
    width, height = image.size
    # Pillow already swapped the size of a TIFF if the TIFF's own tag states such an orientation.
    tags = getattr(image, "tag_v2", {})
    swapped = tags.get(ExifTags.Base.Orientation) not in SWAPPED and _orientation(image) in SWAPPED
    return (width, height) if swapped else (height, width)


def _orientation(image: Image.Image) -> int:
    try:
        # The PNG's own method would decode the pixels.
        value = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
    except (SyntaxError, ValueError, TypeError, LookupError, struct.error):
        return 1
    return value if isinstance(value, int) and value in TRANSPOSE_BY_ORIENTATION else 1


def _has_late_metadata(image: PngImageFile) -> bool:
    """Return whether metadata follow the pixels of a PNG file; only the headers of its chunks are read."""
    assert image.fp is not None
    descriptor, position, late = image.fp.fileno(), 8, False
    while len(header := os.pread(descriptor, 8, position)) == 8:
        length, kind = struct.unpack(">I4s", header)
        if kind == b"IEND":
            break
        if late and kind in _PNG_METADATA:
            return True
        late |= kind == b"IDAT"
        position += length + 12
    return False
