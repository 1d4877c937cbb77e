"""Images of a data set as pictures that a page can hold."""

from __future__ import annotations

import io
import math
from base64 import b64encode

import numpy as np
from PIL import Image
from torch import Tensor

from sslkit.contracts.dataset import ImageStore

THUMBNAIL = 64
"""Longest side in pixels of an image in a grid."""

SPRITE = 48
"""Longest side in pixels of an image on a sheet of many."""

LOSSLESS = 32
"""Longest side in pixels up to which PNG is used; larger pictures are JPEG, at a fraction of the size."""

GAP = 2
"""Pixels between the images of a grid file."""


def picture(pixels: Tensor, longest: int = THUMBNAIL) -> Image.Image:
    """uint8 ``[C, H, W]`` as a picture no larger than that; of other than three channels, the first."""
    array = pixels.cpu().numpy()
    image = Image.fromarray(np.ascontiguousarray(array.transpose(1, 2, 0)) if len(array) == 3 else array[0])
    if max(image.size) > longest:
        image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return image


def uri(image: Image.Image) -> str:
    """A picture as a ``data:`` address."""
    file = io.BytesIO()
    if max(image.size) <= LOSSLESS:
        image.save(file, "PNG", optimize=True)
        return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"
    image.save(file, "JPEG", quality=85, optimize=True)
    return f"data:image/jpeg;base64,{b64encode(file.getvalue()).decode()}"


def thumbnails(images: ImageStore, places: Tensor) -> list[str]:
    """``data:`` addresses of the images at int64 places ``[B]``."""
    return [uri(picture(pixels)) for block in places.split(256) for pixels in images.gather(block)]


def sheet(images: ImageStore, places: Tensor) -> tuple[Image.Image, int, tuple[int, int]]:
    """Images at int64 places ``[B]`` side by side; how many to a row, and ``(width, height)`` of one."""
    columns = math.ceil(math.sqrt(len(places)))
    drawn = [picture(pixels, SPRITE) for block in places.split(256) for pixels in images.gather(block)]
    return grid(drawn, columns, 0), columns, drawn[0].size


def grid(pictures: list[Image.Image], columns: int, gap: int = GAP) -> Image.Image:
    """Pictures of one size in rows on white."""
    width, height = pictures[0].size
    rows = math.ceil(len(pictures) / columns)
    size = columns * (width + gap) - gap, rows * (height + gap) - gap
    found = Image.new(pictures[0].mode, size, "white")
    for place, image in enumerate(pictures):
        row, column = divmod(place, columns)
        found.paste(image, (column * (width + gap), row * (height + gap)))
    return found
