"""What a folder of images holds: what can be told before a recipe for it is written."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low

import numpy as np
from numpy.typing import NDArray

from sslkit.data.datasets.folder.duplicates import Groups, copies, look_alikes
from sslkit.data.datasets.folder.labels import Labels, read_labels
from sslkit.data.datasets.folder.scan import Tree, scan
from sslkit.data.datasets.folder.threads import in_order
from sslkit.data.images import UnreadableImageError, decode, upright_size
from sslkit.errors import DataError

MOST = 20_000
"""Images that are opened where not all are asked for, spread evenly over the folder."""

THUMBNAIL = 16
"""Side in pixels of what is kept of each image."""

COLOUR = 8
"""Levels of 255 that the channels of a thumbnail differ by where an image has colour."""

BACKGROUND_WITHIN = 12
"""Levels of 255 that the edges of images on one background differ by."""

BACKGROUND_SHARE = 0.9
"""Part of the images whose edges must have the same level for it to be a background."""


@dataclass(frozen=True)
class Survey:
    """A folder of images.

    Attributes:
        tree: its files.
        labels: how labels are read from its folders.
        looked: how many images were opened; all, or so many spread evenly.
        broken: reason for each opened file that gave no image, by path.
        sizes: how many images have each size ``(H, W)``.
        converted: how many images are not plain RGB, by what they are.
        colour: part of the images that show any colour, 0 to 1.
        background: level, 0 to 255, that the edges of nearly all images have; None where they have no common one.
        copies: paths of files with the same bytes, among all.
        look_alikes: paths of images that look the same and are no copies, among those opened.
    """

    tree: Tree
    labels: Labels
    looked: int
    broken: Mapping[str, str]
    sizes: Mapping[tuple[int, int], int]
    converted: Mapping[str, int]
    colour: float
    background: int | None
    copies: Groups
    look_alikes: Groups

    @property
    def images(self) -> int:
        """Training images that can be read; estimated where not all were opened."""
        return round(len(self.tree.files["train"]) * (1 - self.broken_share))

    @property
    def broken_share(self) -> float:
        """Part of the opened files that gave no image, 0 to 1."""
        return len(self.broken) / self.looked

    @property
    def shorter_sides(self) -> tuple[int, int, int]:
        """Smallest, median and largest shorter side of an image in pixels."""
        sides = Counter[int]()
        for size, count in self.sizes.items():
            sides[min(size)] += count
        return min(sides), median_low(sides.elements()), max(sides)


def survey(root: Path, *, every: bool = False) -> Survey:
    """Look at a folder of images.

    Args:
        root: the folder.
        every: open every image, however many there are.

    Raises:
        DataError: there are no images, or none that can be read.
    """
    tree = scan(root)
    labels = read_labels(tree, "auto")
    paths = [file.path for file in tree.all_files]
    if not every and len(paths) > MOST:
        paths = [paths[place * len(paths) // MOST] for place in range(MOST)]

    def open_(path: str) -> tuple[tuple[int, int], tuple[str, ...], NDArray[np.uint8]] | str:
        try:
            thumbnail = decode(root / path, 3, (THUMBNAIL, THUMBNAIL))
            return upright_size(root / path), thumbnail.conversions, thumbnail.pixels
        except UnreadableImageError as error:
            return str(error)

    broken: dict[str, str] = {}
    good: list[str] = []
    sizes: Counter[tuple[int, int]] = Counter()
    converted: Counter[str] = Counter()
    thumbnails = np.empty((len(paths), 3, THUMBNAIL, THUMBNAIL), dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd files
        for path, found in zip(paths, in_order(open_, paths), strict=True):
            if isinstance(found, str):
                broken[path] = found
                continue
            size, conversions, thumbnails[len(good)] = found
            sizes[size] += 1
            converted.update(conversions)
            good.append(path)
    if not good:
        path, reason = next(iter(broken.items()))
        raise DataError(f"none of the {len(paths)} images of {root} can be read; the first is {path}: {reason}.")
    thumbnails = thumbnails[: len(good)]
    same = copies(tree, broken)
    return Survey(
        tree,
        labels,
        looked=len(paths),
        broken=broken,
        sizes=sizes,
        converted=dict(sorted(converted.items())),
        colour=float(((thumbnails.max(1) - thumbnails.min(1)).max((1, 2)) > COLOUR).mean()),
        background=_background(thumbnails),
        copies=same,
        look_alikes=look_alikes(good, thumbnails, same),
    )


def _background(thumbnails: NDArray[np.uint8]) -> int | None:
    grey = thumbnails.mean(axis=1)
    edges = np.concatenate([grey[:, 0], grey[:, -1], grey[:, 1:-1, 0], grey[:, 1:-1, -1]], axis=1)
    levels = np.median(edges, axis=1)
    common = float(np.median(levels))
    there = float((np.abs(levels - common) <= BACKGROUND_WITHIN).mean())
    return round(common) if there >= BACKGROUND_SHARE else None
