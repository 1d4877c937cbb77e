"""Scale pixels with more than 8 bits to uint8, in the same way for every image.

Without a value range, 16-bit integers are divided by 257 and rounded (65535 becomes 255), 32-bit integers are read as
16-bit values, and floats are multiplied by 255. Files with integers outside 0 to 65535, or floats outside 0 to 1, count
as unreadable. With a value range, the ends of the range become 0 and 255, and values outside the range are clipped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile

from sslkit.data.unreadable_images import UnreadableImageError

ValueRange = tuple[float, float]
"""Two pixel values: the first becomes 0, the second becomes 255."""

Scaling = Literal["dtype", "image"] | ValueRange
"""Range of pixel values that is mapped to 0-255: ``dtype``, the range of the file's data type; ``image``, the image's
own range (for surveys only); or a ``ValueRange``."""

Kind = Literal["integer", "float"]

TOP: dict[str, int] = {"integer": 65535, "float": 1}
"""Value that becomes 255 if there is no value range, for each kind of value."""

_OTHER_BYTE = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}
"""For each ending of Pillow's raw modes for 16-bit colour, the ending that reads the low byte instead of the high
byte."""


@dataclass(frozen=True)
class Extent:
    """Smallest and largest pixel value of images with more than 8 bits.

    Attributes:
        kind: ``integer`` or ``float``.
        low: the smallest value.
        high: the largest value.
        images: number of images that these values come from.
    """

    kind: Kind
    low: float
    high: float
    images: int = 1

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"

    def __or__(self, other: Extent) -> Extent:
        return Extent(self.kind, min(self.low, other.low), max(self.high, other.high), self.images + other.images)

    @property
    def fits_type(self) -> bool:
        """Whether the values are in the default range: 0 to 65535 for integers, 0 to 1 for floats."""
        return self.low >= 0 and self.high <= TOP[self.kind]

    @property
    def levels(self) -> int:
        """Number of uint8 levels, at most 256, that the values use if there is no value range."""
        return min(256, round((self.high - self.low) / TOP[self.kind] * 255) + 1)


def merge_extents(extents: Iterable[Extent | None]) -> tuple[Extent, ...]:
    """Merge the extents of all images with the same kind of value into one extent."""
    merged: dict[Kind, Extent] = {}
    for extent in extents:
        if extent is not None:
            merged[extent.kind] = merged[extent.kind] | extent if extent.kind in merged else extent
    return tuple(merged.values())


@dataclass(frozen=True)
class Scaled:
    """An 8-bit image that was converted from an image with more than 8 bits.

    Attributes:
        image: the 8-bit image with the channels of the original; its mode is ``L`` if there is a single channel.
        extent: smallest and largest value of the original, without the alpha channel of RGBA. For 16-bit colour, the
            values may be estimated from their high bytes.
        clipped: whether values were outside the value range.
    """

    image: Image.Image
    extent: Extent
    clipped: bool = False


def raw_mode(image: Image.Image) -> str:
    """Return Pillow's raw mode, such as ``RGB;16B``, of an image that is not loaded yet; ``""`` if it is unknown."""
    tiles = getattr(image, "tile", [])
    arguments = tiles[0].args if tiles else None
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def scale_to_8_bits(image: Image.Image, raw: str, file: IO[bytes] | None, scaling: Scaling) -> Scaled | None:
    """Convert a loaded image with more than 8 bits to 8 bits; return None if the image has 8 bits.

    Args:
        image: the loaded image.
        raw: raw mode of the image before loading.
        file: open file of the image.
        scaling: range of pixel values that is mapped to 0-255; see ``Scaling``.

    Raises:
        UnreadableImageError: values are not finite or are outside the data type's range, or Pillow can read only 8 bits
            of each value.
    """
    if image.mode[0] not in "IF":
        return _scale_colour(image, raw, file, scaling) if ";16" in raw else None
    kind: Kind = "float" if image.mode == "F" else "integer"
    values = np.asarray(image).astype(np.float64 if kind == "float" else np.int64)
    extent = Extent(kind, float(values.min()), float(values.max()))
    if not (isfinite(extent.low) and isfinite(extent.high)):
        raise UnreadableImageError("some of its values are NaN or infinite: replace them by numbers")
    if scaling != "dtype":
        return Scaled(Image.fromarray(_scale(values, extent, scaling)), extent, _clips(extent, scaling))
    top = TOP[kind]
    if not extent.fits_type:
        raise UnreadableImageError(f"its values are {extent}, but without value_range they must be 0 to {top}")
    pixels = (values + 128) // 257 if kind == "integer" else np.round(values * 255)
    return Scaled(Image.fromarray(pixels.astype(np.uint8)), extent)


def rescale(pixels: NDArray[np.uint8], extent: Extent, scaling: ValueRange) -> NDArray[np.uint8]:
    """Return 8-bit pixels whose 0 and 255 are the ends of ``scaling`` instead of the ends of ``extent``."""
    return _scale(extent.low + pixels.astype(np.float64) * ((extent.high - extent.low) / 255), extent, scaling)


def suggest_range(extents: Sequence[Extent]) -> ValueRange | None:
    """Return a value range that fits all images, or None if the images do not need one.

    The images need no value range if their values are within the default range of their data type and use more than
    half of it, or if all values are equal. The result is also None if there are no images or if integers are mixed with
    floats, because no single range fits both. The ends are integers if possible.
    """
    if len(extents) != 1:
        return None
    (extent,) = extents
    low, high, top = extent.low, extent.high, TOP[extent.kind]
    if low == high or (extent.fits_type and high - low > top / 2):
        return None
    if low >= 0 and low <= high / 2:
        low = 0
        full_bits = 2 ** int(high).bit_length() - 1
        rounded = _round_up(high) if extent.kind == "float" else full_bits
        high = min(rounded, full_bits) if full_bits >= high else rounded
    return _whole(low), _whole(high)


def _round_up(value: float) -> float:
    """Round a positive value up to two significant digits."""
    step = 10.0 ** (floor(log10(value)) - 1)
    return float(f"{ceil(value / step - 1e-9) * step:.2g}")


def _whole(value: float) -> float:
    return int(value) if value == int(value) else value


def _scale(values: NDArray[Any], extent: Extent, scaling: Literal["image"] | ValueRange) -> NDArray[np.uint8]:
    low, high = (extent.low, extent.high) if scaling == "image" else scaling
    scaled = (values - low) * (255 / (high - low or 1))
    return np.round(scaled.clip(0, 255)).astype(np.uint8)


def _clips(extent: Extent, scaling: Literal["image"] | ValueRange) -> bool:
    return scaling != "image" and (extent.low < scaling[0] or extent.high > scaling[1])


def _scale_colour(image: Image.Image, raw: str, file: IO[bytes] | None, scaling: Scaling) -> Scaled:
    high = np.asarray(image)
    colours = high.shape[2] - (image.mode == "RGBA")
    if scaling == "dtype":
        smallest, largest = high[..., :colours].min(), high[..., :colours].max()
        return Scaled(image, Extent("integer", 256.0 * smallest, 256.0 * largest + 255))
    low = _read_low_bytes(image, raw, file)
    if low is None and scaling != "image":
        raise UnreadableImageError(f"its 16-bit pixels ({raw}) can only be read as 8 bits, without value_range")
    values = high[..., :colours].astype(np.uint16) * 256 + (high if low is None else low)[..., :colours]
    extent = Extent("integer", float(values.min()), float(values.max()))
    pixels = np.concatenate([_scale(values, extent, scaling), high[..., colours:]], axis=2)
    return Scaled(Image.fromarray(pixels, image.mode), extent, _clips(extent, scaling))


def _read_low_bytes(image: Image.Image, raw: str, file: IO[bytes] | None) -> NDArray[np.uint8] | None:
    """Return the low bytes of a 16-bit colour image, or None if this is impossible. Pillow reads only the high bytes.

    ``raw`` is Pillow's raw mode for the image, and ``file`` its open file.
    """
    channels, _, ending = raw.partition(";")
    if channels not in ("RGB", "RGBA", "RGBX", "CMYK") or ending not in _OTHER_BYTE or file is None:
        return None
    other = f"{channels};{_OTHER_BYTE[ending]}"
    low = Image.open(file, formats=[image.format or ""])
    assert isinstance(low, ImageFile)
    low.tile = [
        tile._replace(args=(other, *tile.args[1:]) if isinstance(tile.args, tuple) else other) for tile in low.tile
    ]
    return np.asarray(low)
