"""Decoding a folder of images once, into a cache entry that opens at once ever after.

An entry holds ``images.npy`` (uint8 ``[N, C, H, W]``, in the order of the files) and ``index.json``.  Pixels are
appended to the file as threads decode them, so memory stays flat however many there are, and a full disk is an error
at the write that met it.  Broken files are listed in the index; whether there are too many is for the reader to say,
so that a second try with another limit decodes nothing again.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median_low
from typing import BinaryIO, Literal

import numpy as np

from sslkit.data.cache import cache_folder, entry, need_space
from sslkit.data.datasets.folder.content import check_unchanged, content_name
from sslkit.data.datasets.folder.scan import Tree
from sslkit.data.datasets.folder.threads import in_order
from sslkit.data.images import Decoded, UnreadableImageError, decode, upright_size
from sslkit.data.store import MappedStore
from sslkit.errors import DataError

FORMAT = 1
"""Goes up whenever the same file would give other pixels, or the entry's files change."""

AUTO_SIDE = 256
"""Largest shorter side, in pixels, that ``size = "auto"`` stores."""

Size = int | Literal["auto"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Index:
    """What is in an entry beside the pixels.

    Attributes:
        broken: reason for each file that gave no image, by path; all others are in the entry, in order.
        converted: how many images were converted, by what.
        resized: how many images had another size.
    """

    broken: dict[str, str]
    converted: dict[str, int]
    resized: int


def decoded(tree: Tree, channels: int, size: Size) -> tuple[Path, Index]:
    """The file with all images of a folder that can be read, and the index to it; decoded now if never before.

    Raises:
        DataError: no image can be read, the folder changes meanwhile, or the cache cannot be written or is damaged.
    """
    folder = cache_folder() / "image-folder"
    name = content_name(tree, f"{FORMAT} {channels} {size}", folder / "seen")
    found = entry(folder, name, lambda aside: _build(aside, tree, channels, size))
    try:
        index = Index(**json.loads((found / "index.json").read_text(encoding="utf-8")))
        if len(MappedStore(found / "images.npy")) != len(tree.all_files) - len(index.broken):
            raise ValueError("images are missing")
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"the cache entry {found} is damaged ({error}). Delete that folder and try again.") from error
    return found / "images.npy", index


def _build(folder: Path, tree: Tree, channels: int, size: Size) -> None:
    log.info("decoding %d images of %s, once", len(tree.all_files), tree.root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd files; those that matter end up in the index
        height, width = _auto_size(tree) if size == "auto" else (size, size)
        need_space(folder, len(tree.all_files) * channels * height * width)
        with (folder / "images.npy").open("wb") as file:
            index = _decode_all(file, tree, channels, (height, width))
    with (folder / "index.json").open("w", encoding="utf-8") as text:
        json.dump(asdict(index), text)
        _flush(text.fileno())
    check_unchanged(tree)


def _decode_all(file: BinaryIO, tree: Tree, channels: int, size: tuple[int, int]) -> Index:
    def attempt(path: str) -> Decoded | str:
        try:
            return decode(tree.root / path, channels, size)
        except UnreadableImageError as error:
            return str(error)

    paths = [image.path for image in tree.all_files]
    broken: dict[str, str] = {}
    converted: Counter[str] = Counter()
    resized = 0
    _write_header(file, (len(paths), channels, *size))
    for path, result in zip(paths, in_order(attempt, paths), strict=True):
        if isinstance(result, str):
            broken[path] = result
        else:
            file.write(result.pixels.tobytes())
            converted.update(result.conversions)
            resized += result.resized
    if len(broken) == len(paths):
        raise _none_readable(tree, broken)
    _write_header(file, (len(paths) - len(broken), channels, *size))
    _flush(file.fileno())
    return Index(broken, dict(sorted(converted.items())), resized)


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    # Rewritten once the count is known: numpy pads the header so that its length does not depend on the count.
    file.seek(0)
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _flush(file: int) -> None:
    # Else a power cut after the renaming could leave an entry that looks complete.
    os.fsync(file)


def _auto_size(tree: Tree) -> tuple[int, int]:
    """``(H, W)``: the images' own if all have the same, not too large; else a square of their median shorter side."""

    def attempt(path: str) -> tuple[int, int] | str:
        try:
            return upright_size(tree.root / path)
        except UnreadableImageError as error:
            return str(error)

    paths = [image.path for image in tree.all_files]
    found = dict(zip(paths, in_order(attempt, paths), strict=True))
    sizes = [size for size in found.values() if not isinstance(size, str)]
    if not sizes:
        raise _none_readable(tree, {path: str(reason) for path, reason in found.items()})
    if len(set(sizes)) == 1 and min(sizes[0]) <= AUTO_SIDE:
        return sizes[0]
    side = min(AUTO_SIDE, median_low(min(size) for size in sizes))
    return side, side


def _none_readable(tree: Tree, broken: dict[str, str]) -> DataError:
    path, reason = next(iter(broken.items()))
    return DataError(f"none of the {len(broken)} images of {tree.root} can be read; the first is {path}: {reason}.")
