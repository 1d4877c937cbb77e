"""Pictures for the browser: thumbnails, and images at their full size.

A file is read only if its path, with symbolic links resolved, is in the folder of the images. The browser gets the
file's bytes only if Pillow identifies a format that browsers show; images in other formats are converted to PNG. If a
file cannot be read as an image, the browser gets the pixels that the run was trained on.
"""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from sslkit.data.image_files import FORMATS, MAX_PIXELS
from sslkit.data.pillow_messages import quiet_pillow
from sslkit.explore.run_images import RunImages
from sslkit.explore.thumbnail_cache import ThumbnailCache
from sslkit.files import find_inside, open_regular_file
from sslkit.reporting.original_images import EIGHT_BITS, decode_upright
from sslkit.reporting.thumbnails import thumbnail

THUMBNAIL_SIZE = 256
"""Longest side of a thumbnail in pixels."""

FORMAT_VERSION = 1
"""Version of the cached thumbnails. Increase it when their pixels change."""

MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}
"""Media types of the formats that browsers show."""

Picture = tuple[bytes, str]
"""Bytes of a picture, and their media type."""


class Pictures:
    """Thumbnails and full-size pictures of a run's images.

    Args:
        images: the images.
    """

    def __init__(self, images: RunImages) -> None:
        self.images = images
        self.cache = ThumbnailCache()

    def thumbnail(self, index: int) -> Picture:
        """Return a thumbnail of an image. Thumbnails of files are cached on disk."""
        path = self._path(index)
        if path is None:
            return self._stored(index, THUMBNAIL_SIZE)
        try:
            status = path.stat()
            key = f"{FORMAT_VERSION} {THUMBNAIL_SIZE} {path} {status.st_size} {status.st_mtime_ns}"
            saved = self.cache.read(key)
            if saved is not None:
                return saved, "image/webp"
            with quiet_pillow(), open_regular_file(path) as file:
                small = decode_upright(file, THUMBNAIL_SIZE)
        except Exception:  # Pillow's decoders raise many types for damaged files
            small = None
        if small is None:
            return self._stored(index, THUMBNAIL_SIZE)
        data = io.BytesIO()
        small.save(data, "WEBP", quality=85)
        self.cache.save(key, data.getvalue())
        return data.getvalue(), "image/webp"

    def full(self, index: int) -> Picture:
        """Return an image at its full size: its file if browsers show the format, else a PNG."""
        path = self._path(index)
        if path is not None:
            try:
                with quiet_pillow(), open_regular_file(path) as file:
                    image = Image.open(file, formats=FORMATS)
                    if image.width * image.height <= MAX_PIXELS:
                        if image.format in MEDIA_TYPES and image.mode in EIGHT_BITS:
                            file.seek(0)
                            return file.read(), MEDIA_TYPES[image.format]
                        decoded = decode_upright(file, None)
                        if decoded is not None:
                            return _png(decoded)
            except Exception:  # as above
                pass
        return self._stored(index, None)

    def _path(self, index: int) -> Path | None:
        """Return an image's path, with symbolic links resolved, or None if it is not a file in the folder of images."""
        root = self.images.root
        return None if root is None else find_inside(root, self.images.files[index])

    def _stored(self, index: int, longest: int | None) -> Picture:
        pixels = self.images.pixels(index)
        return _png(thumbnail(pixels, longest or max(pixels.shape)))


def _png(image: Image.Image) -> Picture:
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue(), "image/png"
