"""Load images for a report from the original files, which are often larger than the images in the data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from PIL import Image

from sslkit.contracts.dataset import ImageStore
from sslkit.data.image_files import FORMATS, MAX_PIXELS
from sslkit.data.orientation import transposition
from sslkit.data.pillow_messages import quiet_pillow
from sslkit.files import find_inside, open_regular_file
from sslkit.reporting.thumbnails import thumbnail

EIGHT_BITS = frozenset({"1", "L", "P", "RGB", "RGBA", "LA", "PA", "CMYK", "YCbCr"})
"""Pillow's modes for 8-bit images. Other images need a value range, and are shown as the data set stores them."""


@dataclass(frozen=True)
class OriginalImages:
    """Images of a split, loaded from their files if possible, else from the data set.

    Attributes:
        images: the images as the data set stores them.
        files: path of each image relative to ``root``, or an empty tuple if the images are not files.
        root: folder of the files, or None if the images are not files. Files outside this folder are not read.
    """

    images: ImageStore
    files: tuple[str, ...] = ()
    root: Path | None = None

    def load(self, index: int, longest: int) -> Image.Image:
        """Return an image from its file if possible, else from the data set.

        The longer side is reduced to at most ``longest`` pixels.
        """
        return self._from_file(index, longest) or thumbnail(self.images.gather(torch.tensor([index]))[0], longest)

    def _from_file(self, index: int, longest: int) -> Image.Image | None:
        if self.root is None or not self.files:
            return None
        path = find_inside(self.root, self.files[index])
        if path is None:
            return None
        try:
            with quiet_pillow(), open_regular_file(path) as file:
                return decode_upright(file, longest)
        except Exception:  # Pillow's decoders raise many types for damaged files
            return None


def decode_upright(file: BinaryIO, longest: int | None) -> Image.Image | None:
    """Decode an image file as an RGB or grey image, turned upright according to its EXIF orientation.

    The longer side is reduced to at most ``longest`` pixels; None keeps the size.

    Returns:
        The image, or None if it has more than 8 bits per channel or more than ``MAX_PIXELS`` pixels.
    """
    file.seek(0)
    image = Image.open(file, formats=FORMATS)
    if image.width * image.height > MAX_PIXELS or image.mode not in EIGHT_BITS:
        return None
    if longest:
        image.draft(None, (2 * longest, 2 * longest))
    image.load()
    transpose = transposition(image)
    flat: Image.Image = image
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        flat = Image.alpha_composite(Image.new("RGBA", image.size, "white"), coloured)
    flat = flat.convert("L" if image.mode in ("1", "L") else "RGB")
    if transpose is not None:
        flat = flat.transpose(transpose)
    if longest:
        flat.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return flat
