"""Thumbnails of images: ``data:`` URIs, sprite sheets and grids."""

from __future__ import annotations

import io
import math
from base64 import b64encode

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor

from sslkit.contracts.dataset import ImageStore

THUMBNAIL_SIZE = 64
"""Longest side, in pixels, of an image in a grid that is saved as a file."""

PNG_SIZE = 32
"""Images whose longest side has at most this many pixels are stored as PNG; larger images as WebP, to save space."""

GAP = 2
"""Gap between the images of a grid, in pixels."""

BATCH = 256
"""Number of images that are read at a time."""


def thumbnail(pixels: Tensor, longest: int = THUMBNAIL_SIZE) -> Image.Image:
    """Convert uint8 pixels ``[C, H, W]`` to an image whose sides are at most ``longest`` pixels long.

    Three channels become RGB. With any other number of channels, the first channel becomes a grey image.
    """
    array = pixels.cpu().numpy()
    image = Image.fromarray(np.ascontiguousarray(array.transpose(1, 2, 0)) if len(array) == 3 else array[0])
    if max(image.size) > longest:
        image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return image


def thumbnails(images: ImageStore, indices: Tensor, longest: int = THUMBNAIL_SIZE) -> list[Image.Image]:
    """Return thumbnails of the images at int64 ``indices`` ``[B]``."""
    return [thumbnail(pixels, longest) for batch in indices.split(BATCH) for pixels in images.gather(batch)]


def data_uri(image: Image.Image, quality: int = 80) -> str:
    """Encode an image as a ``data:`` URI: a small image as PNG, a larger one as WebP.

    ``quality`` is the WebP quality, from 1 to 100.
    """
    file = io.BytesIO()
    if max(image.size) <= PNG_SIZE:
        image.save(file, "PNG", optimize=True)
        return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"
    image.save(file, "WEBP", quality=quality)
    return f"data:image/webp;base64,{b64encode(file.getvalue()).decode()}"


def sprite_sheet(images: list[Image.Image], side: int) -> tuple[Image.Image, int]:
    """Draw images without gaps on one sheet. Each image is cropped to its central square, ``side`` pixels wide.

    Returns:
        The sheet, and the number of images in a row.
    """
    columns = math.ceil(math.sqrt(len(images)))
    squares = [ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.LANCZOS) for image in images]
    return image_grid(squares, columns, 0), columns


def image_grid(images: list[Image.Image], columns: int, gap: int = GAP) -> Image.Image:
    """Draw images of equal size on a white background, with ``columns`` images per row and gaps of ``gap`` pixels."""
    width, height = images[0].size
    rows = math.ceil(len(images) / columns)
    size = columns * (width + gap) - gap, rows * (height + gap) - gap
    grid = Image.new(images[0].mode, size, "white")
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        grid.paste(image, (column * (width + gap), row * (height + gap)))
    return grid
