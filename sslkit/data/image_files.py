"""Decode image files of all common formats and modes to uint8 pixels.

The same rules apply to every image, whatever its content:

* The EXIF orientation is applied, or the XMP orientation if there is no EXIF orientation. If there are multiple frames,
  the first is used. Colour profiles are ignored.
* Transparency (RGBA, LA, palette or key colour) is composited on white. An additional channel of a TIFF is treated as
  transparency if the tag ExtraSamples marks the channel as such, and is ignored otherwise. The fourth channel of a PNG
  is always treated as transparency.
* Pixels with more than 8 bits are scaled by the range of their data type, or by the option ``value_range``.
* Colour is converted to grey with ITU-R 601 luma, and CMYK, YCbCr and similar modes to RGB with Pillow's formulas.
* An image of a different size is scaled (bicubic, antialiased) until it covers the requested size, then centre-cropped.

The format is determined by the content of a file, not by its name. Only formats in ``FORMATS`` are read. An image of
more than ``MAX_PIXELS`` pixels counts as broken, because a small malicious file could otherwise exhaust the memory.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError

from sslkit.data.orientation import transposition, upright_size
from sslkit.data.threads import map_in_threads
from sslkit.data.unreadable_images import UnreadableImageError, describe_unreadable
from sslkit.data.value_range import Extent, Scaling, raw_mode, scale_to_8_bits
from sslkit.errors import DataError
from sslkit.files import open_regular_file

EXTENSIONS = frozenset([".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"])
"""File name extensions of images, in lower case."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""Pillow's names of the formats that are opened."""

MAX_PIXELS = 100_000_000
"""Maximum number of pixels of an image."""

P = ParamSpec("P")
Item = TypeVar("Item")
Result = TypeVar("Result")

TRANSIENT_ERRORS = frozenset(
    getattr(errno, name)
    for name in (
        *("EIO", "ESTALE", "ETIMEDOUT", "EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "ECONNRESET"),
        *("EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENOTCONN"),
    )
)
"""Error numbers of temporary problems with the machine, disk or network; the file itself may be valid."""

ALPHA_SAMPLES = (1, 2, 999)
"""Values of the TIFF tag ExtraSamples that mark an additional channel as transparency."""


@dataclass(frozen=True)
class DecodedImage:
    """Decoded image.

    Attributes:
        pixels: uint8 ``[C, H, W]``.
        conversions: conversions to report to the user, such as ``RGBA`` or ``EXIF orientation``.
        resized: whether the image was resized.
        extent: value range of an image with more than 8 bits, or None for an 8-bit image.
    """

    pixels: NDArray[np.uint8]
    conversions: tuple[str, ...]
    resized: bool
    extent: Extent | None = None


def decode_image(path: Path, channels: int, size: tuple[int, int], scaling: Scaling = "dtype") -> DecodedImage:
    """Decode an image file to ``channels`` (1 or 3) channels of ``size`` ``(H, W)``.

    Args:
        path: the image file.
        channels: 1 or 3.
        size: height and width of the result.
        scaling: for an image with more than 8 bits, the range of pixel values that is mapped to 0-255; see ``Scaling``.

    Raises:
        UnreadableImageError: the file is not an image, is damaged, or has no read permission.
        DataError: the file cannot be read now, because of a problem with the disk, network or machine.
    """
    with _open(path) as image:
        return _explain_errors(_decode, image, "RGB" if channels == 3 else "L", size, scaling)


def read_image_size(path: Path) -> tuple[int, int]:
    """Return the size ``(H, W)`` of the upright image, from the file's header alone.

    Raises:
        UnreadableImageError: the file is not an image, or has no read permission.
        DataError: the file cannot be read now, because of a problem with the disk, network or machine.
    """
    with _open(path) as image:
        return _explain_errors(upright_size, image)


def read_in_threads(read: Callable[[Item], Result], items: Sequence[Item], ahead: int = 0) -> Iterator[Result | str]:
    """Yield ``read(item)`` for each item in order, or the reason why its image is unreadable.

    ``read`` runs in background threads; ``map_in_threads`` describes ``ahead``.
    """

    def result_or_reason(item: Item) -> Result | str:
        try:
            return read(item)
        except UnreadableImageError as error:
            return str(error)

    return map_in_threads(result_or_reason, items, ahead)


def unreachable_error(path: Path, error: OSError) -> DataError:
    """Return the error for a possibly valid file that cannot be read now, for example because a disk fails."""
    return DataError(f"{path} cannot be read now: {error.strerror}. Try again; if it fails again, remove the file.")


@contextmanager
def _open(path: Path) -> Iterator[Image.Image]:
    try:
        # Pillow gets an open file, because it garbles rotated uncompressed TIFFs if it opens the path itself.
        with _explain_errors(open_regular_file, path) as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise UnreadableImageError("empty file")
            image = _explain_errors(_identify, file)
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableImageError(f"{image.width}x{image.height} pixels, the limit is {MAX_PIXELS:,}")
            yield image
    except OSError as error:
        raise unreachable_error(path, error) from error


def _identify(file: BufferedReader) -> Image.Image:
    try:
        return Image.open(file, formats=FORMATS)
    except (UnidentifiedImageError, LookupError, ValueError) as error:  # KeyError: unknown compression
        if "MAX_TEXT" in str(error):
            raise
        raise UnreadableImageError(describe_unreadable(file)) from None


def _explain_errors(function: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
    # For damaged files, Pillow's decoders raise many types: OSError, SyntaxError, struct.error, IndexError ...
    try:
        return function(*args, **kwargs)
    except (UnreadableImageError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise UnreadableImageError(f"more than the limit of {MAX_PIXELS:,} pixels") from None
    except OSError as error:
        if error.errno in TRANSIENT_ERRORS:
            raise
        raise UnreadableImageError(error.strerror or str(error)) from error
    except Exception as error:
        if isinstance(error, ValueError) and "MAX_TEXT" in str(error):
            limit = PngImagePlugin.MAX_TEXT_CHUNK // 2**20
            text = f"a PNG with more than {limit} MiB of text or colour profile: save it without metadata"
            raise UnreadableImageError(text) from error
        raise UnreadableImageError(f"damaged ({error})") from error


def _decode(image: Image.Image, mode: str, size: tuple[int, int], scaling: Scaling) -> DecodedImage:
    conversions = ["1-bit" if image.mode == "1" else image.mode] if image.mode != mode else []
    if getattr(image, "is_animated", False):
        conversions.append("first of several frames")
    # Large JPEGs are decoded at a reduced size, which is at least twice the requested size.
    full_size = image.size
    image.draft(None, (2 * max(size), 2 * max(size)))
    drafted = image.size != full_size
    raw, file = raw_mode(image), getattr(image, "fp", None)
    _load(image, raw)
    scaled = scale_to_8_bits(image, raw, file, scaling)
    if scaled and scaled.clipped:
        conversions.append("values outside value_range clipped")
    opaque, ignores_channel = _additional_channels(image)
    if ignores_channel:
        conversions.append("additional channel ignored")
    flat = _flatten(scaled.image if scaled else image, mode, opaque=opaque)
    transpose = transposition(image)
    if transpose is not None:
        flat = flat.transpose(transpose)
        conversions.append("EXIF orientation")
    height, width = size
    resized = drafted or flat.size != (width, height)
    if resized:
        flat = ImageOps.fit(flat, (width, height), method=Image.Resampling.BICUBIC)
    pixels = np.ascontiguousarray(np.asarray(flat).reshape(height, width, -1).transpose(2, 0, 1))
    return DecodedImage(pixels, tuple(conversions), resized, scaled.extent if scaled else None)


def _load(image: Image.Image, raw: str) -> None:
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    bits = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    if tags.get(TiffImagePlugin.PLANAR_CONFIGURATION) == 2 and bits > 8 and len(raw) == 1:
        # Pillow would read the first half of the file as 8-bit pixels.
        raise UnreadableImageError(f"a TIFF of {bits}-bit channels in separate planes; store them interleaved")
    try:
        image.load()
    except OSError as error:
        if not tags or error.errno is not None:
            raise
        compression = image.info.get("compression")
        raise UnreadableImageError(
            f"a TIFF whose pixels are damaged, or compressed in a way that Pillow cannot read here ({compression})"
        ) from error


def _flatten(image: Image.Image, mode: str, *, opaque: bool) -> Image.Image:
    try:
        if image.has_transparency_data and not opaque:
            colours = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), colours).convert("RGB")
        return image.convert(mode)
    except ValueError as error:
        raise UnreadableImageError(f"an image in mode {image.mode}, which cannot become RGB or grey") from error


def _additional_channels(image: Image.Image) -> tuple[bool, bool]:
    """Return two flags of a TIFF: Pillow's alpha channel is not transparency; at least one channel is ignored.

    Both flags are False for other formats.
    """
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False, False
    stated = image.tag_v2.get(TiffImagePlugin.EXTRASAMPLES, ())
    opaque = image.mode in ("RGBA", "LA", "La", "PA") and not set(stated) & set(ALPHA_SAMPLES)
    return opaque, opaque or image.tag_v2.get(TiffImagePlugin.SAMPLESPERPIXEL, 1) > len(image.getbands())
