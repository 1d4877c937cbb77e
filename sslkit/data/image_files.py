"""Decoding of image files to uint8 pixels, for all common formats and modes.

The rules are the same for every image; no image is scaled by its own content:

* EXIF orientation is applied. Of several frames, the first is used. Colour profiles are ignored.
* Transparency (RGBA, LA, palette or key colour) is composited on white.
* 16-bit integers are divided by 257 and rounded (65535 becomes 255); 32-bit integers are read as 16-bit values.
* Floats are read as values in [0, 1] and multiplied by 255. Values outside the range make the file broken.
* Colour becomes grey by ITU-R 601 luma. CMYK, YCbCr and similar modes become RGB by Pillow's plain formulas.
* An image of another size is scaled (bicubic, antialiased) until it covers the requested size, then centre-cropped.

The content of a file, not its name, decides its format; only those of ``FORMATS`` are opened. A file of more than
``MAX_PIXELS`` pixels counts as broken: a small file can claim to be an image that fills the memory.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from sslkit.errors import DataError
from sslkit.files import open_regular_file

EXTENSIONS = frozenset([".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"])
"""File name extensions of images, in lower case."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""Pillow's names of the formats that are opened."""

MAX_PIXELS = 100_000_000
"""Largest number of pixels of an image."""

P = ParamSpec("P")
Result = TypeVar("Result")

_TRANSPOSE_BY_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


TRANSIENT_ERRORS = frozenset(
    getattr(errno, name)
    for name in (
        *("EIO", "ESTALE", "ETIMEDOUT", "EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "ECONNRESET"),
        *("EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENOTCONN"),
    )
)
"""Error numbers of a machine, disk or network problem that may pass; the file itself may be valid."""


class UnreadableImageError(Exception):
    """A file is not a readable image; the message is the reason."""


@dataclass(frozen=True)
class DecodedImage:
    """Decoded image.

    Attributes:
        pixels: uint8 ``[C, H, W]``.
        conversions: conversions that users may want to know of, such as ``RGBA`` or ``EXIF orientation``.
        resized: whether the file had another size.
    """

    pixels: NDArray[np.uint8]
    conversions: tuple[str, ...]
    resized: bool


def decode_image(path: Path, channels: int, size: tuple[int, int]) -> DecodedImage:
    """Decode an image file to ``channels`` (1 or 3) channels of ``size`` ``(H, W)``.

    Raises:
        UnreadableImageError: the file is not an image, is damaged, or may not be read.
        DataError: the file cannot be read now, because of its disk, the network or this machine.
    """
    with _open(path) as image:
        return _explain_errors(_decode, image, "RGB" if channels == 3 else "L", size)


def read_image_size(path: Path) -> tuple[int, int]:
    """Return the size ``(H, W)`` of an upright image, read from the file's header only.

    Raises:
        UnreadableImageError: the file is not an image, or may not be read.
        DataError: the file cannot be read now, because of its disk, the network or this machine.
    """
    with _open(path) as image:
        return _explain_errors(_read_image_size, image)


def unreachable_error(path: Path, error: OSError) -> DataError:
    """Return the error for a file that cannot be read now, but is not known to be broken."""
    return DataError(f"{path} cannot be read now: {error.strerror}. Try again; if it fails again, remove the file.")


@contextmanager
def _open(path: Path) -> Iterator[Image.Image]:
    try:
        # Pillow gets an open file: given a path, it maps the file into memory and garbles rotated uncompressed TIFFs.
        with _explain_errors(open_regular_file, path) as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise UnreadableImageError("empty file")
            image = _explain_errors(Image.open, file, formats=FORMATS)
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableImageError(f"{image.width}x{image.height} pixels, the limit is {MAX_PIXELS:,}")
            yield image
    except OSError as error:
        raise unreachable_error(path, error) from error


def _explain_errors(function: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
    # On damaged files Pillow's decoders raise many types: OSError, SyntaxError, struct.error, IndexError ...
    try:
        return function(*args, **kwargs)
    except (UnreadableImageError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise UnreadableImageError("not an image, or its header is damaged") from None
    except Image.DecompressionBombError:
        raise UnreadableImageError(f"more than the limit of {MAX_PIXELS:,} pixels") from None
    except OSError as error:
        if error.errno in TRANSIENT_ERRORS:
            raise
        raise UnreadableImageError(error.strerror or str(error)) from error
    except Exception as error:
        raise UnreadableImageError(f"damaged ({error})") from error


def _decode(image: Image.Image, mode: str, size: tuple[int, int]) -> DecodedImage:
    conversions = [image.mode] if image.mode != mode else []
    if getattr(image, "is_animated", False):
        conversions.append("first of several frames")
    # Large JPEGs are decoded at a fraction of their size, which is at least twice the requested size.
    full_size = image.size
    image.draft(None, (2 * max(size), 2 * max(size)))
    drafted = image.size != full_size
    flat = _flatten(image, mode)
    transpose = _TRANSPOSE_BY_ORIENTATION.get(_orientation(image))
    if transpose is not None:
        flat = flat.transpose(transpose)
        conversions.append("EXIF orientation")
    height, width = size
    resized = drafted or flat.size != (width, height)
    if resized:
        flat = ImageOps.fit(flat, (width, height), method=Image.Resampling.BICUBIC)
    pixels = np.asarray(flat).reshape(height, width, -1).transpose(2, 0, 1)
    return DecodedImage(np.ascontiguousarray(pixels), tuple(conversions), resized)


def _flatten(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I"):
        values = _require_range(np.asarray(image).astype(np.int64), 65535)
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    elif image.mode == "F":
        values = _require_range(np.asarray(image).astype(np.float64), 1)
        image = Image.fromarray(np.round(values * 255).astype(np.uint8))
    elif image.has_transparency_data:
        colours = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), colours).convert("RGB")
    return image.convert(mode)


def _require_range(values: NDArray[Any], top: int) -> NDArray[Any]:
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= top):
        raise UnreadableImageError(f"its values are {low} to {high}, but must be 0 to {top}")
    return values


def _orientation(image: Image.Image) -> int:
    # For TIFFs Pillow applies the orientation itself and reports 1.
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))


def _read_image_size(image: Image.Image) -> tuple[int, int]:
    # Requesting EXIF data that a PNG's header does not have would decode the whole file.
    swapped = "exif" in image.info and _orientation(image) >= 5
    width, height = image.size
    return (width, height) if swapped else (height, width)
