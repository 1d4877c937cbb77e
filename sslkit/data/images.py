"""One image file to uint8 pixels, whatever its format and mode.

The rules, each applied to every image alike so that no image is scaled by its own content:

* EXIF orientation is applied; of several frames the first is taken; colour profiles are ignored.
* Transparency (RGBA, LA, palette or key colour) is laid on white.
* 16-bit integers are divided by 257 and rounded (65535 becomes 255); 32-bit integers are taken as 16-bit ones.
* Floats are taken as 0 to 1 and multiplied by 255.  Numbers outside the range make the file a broken one.
* Colour becomes grey by ITU-R 601 luma; CMYK, YCbCr and the like become RGB by Pillow's plain formulas.
* An image of another size than asked for is scaled (bicubic, antialiased) until it covers that size, and the
  middle is cut out.

Only the formats of ``EXTENSIONS`` are opened, told by content and not by name.  Files of more than
``MAX_PIXELS`` pixels count as broken: a small file can claim to be an image that fills the memory.
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
"""Names, in lower case, that files with images have."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")

MAX_PIXELS = 100_000_000

P = ParamSpec("P")
Result = TypeVar("Result")

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


PASSING = frozenset(
    getattr(errno, name)
    for name in (
        *("EIO", "ESTALE", "ETIMEDOUT", "EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "ECONNRESET"),
        *("EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENOTCONN"),
    )
)
"""Errors of a machine, a disk or a network that say nothing about the file."""


class UnreadableImageError(Exception):
    """A file that gives no image; the message is the reason."""


@dataclass(frozen=True)
class Decoded:
    """An image.

    Attributes:
        pixels: uint8 ``[C, H, W]``.
        conversions: what was done to it that a user may want to know, in words.
        resized: whether its own size was another one.
    """

    pixels: NDArray[np.uint8]
    conversions: tuple[str, ...]
    resized: bool


def decode(path: Path, channels: int, size: tuple[int, int]) -> Decoded:
    """Read one image as ``channels`` (1 or 3) channels of ``size`` ``(H, W)``.

    Raises:
        UnreadableImageError: the file is no image, is damaged, or may not be read.
        DataError: it cannot be read now, because of its disk, the network or this machine.
    """
    with _open(path) as image:
        return _reading(_decode, image, "RGB" if channels == 3 else "L", size)


def upright_size(path: Path) -> tuple[int, int]:
    """``(H, W)`` of an image as ``decode`` would show it, from the file's head only.

    Raises:
        UnreadableImageError: the file is no image, or may not be read.
        DataError: it cannot be read now, because of its disk, the network or this machine.
    """
    with _open(path) as image:
        return _reading(_upright_size, image)


def unreachable(path: Path, error: OSError) -> DataError:
    """What to say of a file that cannot be read now, which does not make it a broken one."""
    return DataError(f"{path} cannot be read now: {error.strerror}. Try again, or remove it if that goes on.")


@contextmanager
def _open(path: Path) -> Iterator[Image.Image]:
    try:
        with _opened(path) as image:
            yield image
    except OSError as error:
        raise unreachable(path, error) from error


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    # Pillow is given a file, not its path: paths it maps into memory, and then garbles rotated uncompressed TIFFs.
    with _reading(open_regular_file, path) as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise UnreadableImageError("empty file")
        image = _reading(Image.open, file, formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise UnreadableImageError(f"{image.width}x{image.height} pixels, more than {MAX_PIXELS:,} are not read")
        yield image


def _reading(step: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
    # Pillow's decoders raise whatever they stumble over (OSError, SyntaxError, struct.error, IndexError ...).
    try:
        return step(*args, **kwargs)
    except (UnreadableImageError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise UnreadableImageError("not an image, or damaged from the start") from None
    except Image.DecompressionBombError:
        raise UnreadableImageError(f"more than {MAX_PIXELS:,} pixels are not read") from None
    except OSError as error:
        if error.errno in PASSING:
            raise
        raise UnreadableImageError(error.strerror or str(error)) from error
    except Exception as error:
        raise UnreadableImageError(f"damaged ({error})") from error


def _decode(image: Image.Image, mode: str, size: tuple[int, int]) -> Decoded:
    conversions = [image.mode] if image.mode != mode else []
    if getattr(image, "is_animated", False):
        conversions.append("first of several frames")
    # JPEGs far larger than asked for are decoded at a fraction of their size, never less than twice what is asked.
    whole = image.size
    image.draft(None, (2 * max(size), 2 * max(size)))
    drafted = image.size != whole
    flat = _flatten(image, mode)
    turn = _UPRIGHT.get(_orientation(image))
    if turn is not None:
        flat = flat.transpose(turn)
        conversions.append("EXIF orientation")
    height, width = size
    resized = drafted or flat.size != (width, height)
    if resized:
        flat = ImageOps.fit(flat, (width, height), method=Image.Resampling.BICUBIC)
    pixels = np.asarray(flat).reshape(height, width, -1).transpose(2, 0, 1)
    return Decoded(np.ascontiguousarray(pixels), tuple(conversions), resized)


def _flatten(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I"):
        values = _within(np.asarray(image).astype(np.int64), 65535)
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    elif image.mode == "F":
        values = _within(np.asarray(image).astype(np.float64), 1)
        image = Image.fromarray(np.round(values * 255).astype(np.uint8))
    elif image.has_transparency_data:
        colours = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), colours).convert("RGB")
    return image.convert(mode)


def _within(values: NDArray[Any], top: int) -> NDArray[Any]:
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= top):
        raise UnreadableImageError(f"its values go from {low} to {high}, not from 0 to {top}")
    return values


def _orientation(image: Image.Image) -> int:
    # Of a TIFF there is none left to apply: Pillow turns these itself.
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))


def _upright_size(image: Image.Image) -> tuple[int, int]:
    # Asking a PNG for EXIF data that its head does not have would decode all of it.
    turned = "exif" in image.info and _orientation(image) >= 5
    width, height = image.size
    return (width, height) if turned else (height, width)
