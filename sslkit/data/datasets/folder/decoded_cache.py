"""Cache of decoded image folders. A folder is decoded once; later runs memory-map the decoded images.

An entry has ``images.npy`` (uint8 ``[N, C, H, W]``, in the order of the files) and ``index.json``. Pixels are written
while threads decode further images, so memory use does not depend on the number of images. The index lists broken
files. The data set decides whether there are too many broken files, so changing its option ``broken_limit``
does not repeat the decoding.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median_low
from typing import BinaryIO, Literal

import numpy as np

from sslkit.data.cache import cache_folder, get_or_build, require_free_space
from sslkit.data.datasets.folder.content_hash import check_unchanged, json_hash
from sslkit.data.datasets.folder.scan import FolderScan, printable
from sslkit.data.image_files import decode_image, read_image_size, read_in_threads
from sslkit.data.pillow_messages import quiet_pillow
from sslkit.data.store import MappedStore
from sslkit.data.value_range import Extent, Kind, Scaling, merge_extents
from sslkit.errors import DataError

FORMAT = 2
"""Version of cache entries. The version increases when decoding gives different pixels, or when the files of an entry
change."""

MAX_AUTO_SIDE = 256
"""Maximum length, in pixels, of the shorter side of images that are stored with ``size = "auto"``."""

Size = int | Literal["auto"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DecodedIndex:
    """Contents of ``index.json``, which describes a decoded image folder.

    Attributes:
        broken: reason for each broken file, keyed by path. All other files are in ``images.npy``, in order.
        converted: number of images for each kind of conversion.
        resized: number of images that were resized.
        values: attributes of each ``Extent`` (range of pixel values) in ``extents``: kind, low, high, number of images.
    """

    broken: dict[str, str]
    converted: dict[str, int]
    resized: int
    values: list[tuple[Kind, float, float, int]]

    @property
    def extents(self) -> tuple[Extent, ...]:
        """Ranges of pixel values of images with more than 8 bits: at most one for integer and one for float pixels."""
        return tuple(Extent(*values) for values in self.values)


def decode_folder(
    scan: FolderScan, content: str, channels: int, size: Size, scaling: Scaling
) -> tuple[Path, DecodedIndex]:
    """Return the file with a folder's decoded images, and its index; decode the images if they are not cached.

    Args:
        scan: the folder.
        content: hash of the folder's content.
        channels: 1 or 3.
        size: side of the stored images in pixels.
        scaling: for images with more than 8 bits, the range of pixel values that is mapped to 0-255; see ``Scaling``.

    Raises:
        DataError: no image can be read, the folder changes during decoding, or the cache is damaged or not writable.
    """
    name = json_hash([FORMAT, channels, size, scaling, content, [file.path for file in scan.all_files]])
    entry = get_or_build(entries_folder(), name, lambda folder: _build(folder, scan, channels, size, scaling))
    try:
        index = DecodedIndex(**json.loads((entry / "index.json").read_text(encoding="utf-8")))
        if len(MappedStore(entry / "images.npy")) != len(scan.all_files) - len(index.broken):
            raise ValueError("images are missing")
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"the cache entry {entry} is damaged ({error}). Delete that folder and try again.") from error
    return entry / "images.npy", index


def entries_folder() -> Path:
    """Return the cache folder of the data set ``image-folder``; it may not exist yet."""
    return cache_folder() / "image-folder"


def _build(folder: Path, scan: FolderScan, channels: int, size: Size, scaling: Scaling) -> None:
    log.info("decoding %d images of %s, once", len(scan.all_files), scan.root)
    with quiet_pillow():
        height, width = _auto_size(scan) if size == "auto" else (size, size)
        require_free_space(folder, len(scan.all_files) * channels * height * width)
        with (folder / "images.npy").open("wb") as file:
            index = _decode_all(file, scan, channels, (height, width), scaling)
    with (folder / "index.json").open("w", encoding="utf-8") as text:
        json.dump(asdict(index), text)
        text.flush()
        os.fsync(text.fileno())
    check_unchanged(scan)


def _decode_all(
    file: BinaryIO, scan: FolderScan, channels: int, size: tuple[int, int], scaling: Scaling
) -> DecodedIndex:
    paths = [image.path for image in scan.all_files]
    broken: dict[str, str] = {}
    converted: Counter[str] = Counter()
    resized = 0
    extents: tuple[Extent, ...] = ()
    _write_header(file, (len(paths), channels, *size))
    results = read_in_threads(lambda path: decode_image(scan.root / path, channels, size, scaling), paths)
    for path, result in zip(paths, results, strict=True):
        if isinstance(result, str):
            broken[path] = result
        else:
            file.write(result.pixels.tobytes())
            converted.update(result.conversions)
            resized += result.resized
            extents = merge_extents([*extents, result.extent])
    if len(broken) == len(paths):
        raise no_readable_images(scan, broken)
    _write_header(file, (len(paths) - len(broken), channels, *size))
    file.flush()
    os.fsync(file.fileno())  # otherwise a power failure after the rename may leave an incomplete entry
    values = [(extent.kind, extent.low, extent.high, extent.images) for extent in extents]
    return DecodedIndex(broken, dict(sorted(converted.items())), resized, values)


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    # The header is written again once the count is known. numpy pads the header to a fixed length.
    file.seek(0)
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _auto_size(scan: FolderScan) -> tuple[int, int]:
    """Return the size ``(H, W)`` of the stored images.

    If all images have the same size, and their shorter side is at most ``MAX_AUTO_SIDE``, the size does not change.
    Otherwise, images are stored as squares. The side is the median shorter side of the images, at most
    ``MAX_AUTO_SIDE``.
    """
    paths = [image.path for image in scan.all_files]
    results = dict(zip(paths, read_in_threads(lambda path: read_image_size(scan.root / path), paths), strict=True))
    sizes = [size for size in results.values() if not isinstance(size, str)]
    if not sizes:
        raise no_readable_images(scan, {path: str(reason) for path, reason in results.items()})
    if len(set(sizes)) == 1 and min(sizes[0]) <= MAX_AUTO_SIDE:
        return sizes[0]
    side = min(MAX_AUTO_SIDE, median_low(min(size) for size in sizes))
    return side, side


def no_readable_images(scan: FolderScan, broken: dict[str, str], split: str = "") -> DataError:
    """Return the error for a folder or a split whose images are all broken; ``broken`` maps path to reason."""
    path, reason = next(iter(broken.items()))
    where = f"the split {split!r} of {scan.root}" if split else str(scan.root)
    return DataError(
        f"none of the {len(broken)} images of {where} can be read; the first is {printable(path)}: {reason}. "
        "Repair the files, or name another folder."
    )
