"""Survey of an image folder: facts from which ``sslkit init`` derives a recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low

import numpy as np
from numpy.typing import NDArray

from sslkit.data.datasets.folder.decoded_cache import no_readable_images
from sslkit.data.datasets.folder.duplicate_groups import DuplicateGroups
from sslkit.data.datasets.folder.duplicates import exact_duplicates, near_duplicates
from sslkit.data.datasets.folder.hold_out import hold_out
from sslkit.data.datasets.folder.labels import FolderLabels, LabelMode, read_labels
from sslkit.data.datasets.folder.scan import FolderScan, scan_folder
from sslkit.data.image_files import DecodedImage, decode_image, read_image_size, read_in_threads
from sslkit.data.pillow_messages import quiet_pillow
from sslkit.data.value_range import TOP, Extent, merge_extents, rescale, suggest_range

MAX_OPENED = 20_000
"""Maximum number of images to open, evenly spaced over the folder, unless all images are requested."""

THUMBNAIL_SIDE = 16
"""Side of a thumbnail in pixels."""

COLOUR_THRESHOLD = 8
"""An image has colour if the channels of a pixel differ by more than this number of levels out of 255."""

BACKGROUND_TOLERANCE = 12
"""Largest difference between the edges of images on the same background, in levels out of 255."""

BACKGROUND_MIN_SHARE = 0.9
"""Minimum share of images, in [0, 1], with the same level at their edges, for a common background."""


@dataclass(frozen=True)
class FolderSurvey:
    """Facts about an image folder.

    Attributes:
        scan: files of the folder.
        labels: labels read from the names of the sub-folders.
        opened: number of images that were opened.
        broken: reason for each broken file among the opened files, keyed by path.
        sizes: number of images of each size ``(H, W)``.
        converted: number of images that are not plain RGB, keyed by kind of conversion.
        colour_share: share of the images that contain any colour, in [0, 1].
        background_level: grey level (0 to 255) at the edges of nearly all images, or None if the level differs.
        extents: smallest and largest value of the images with more than 8 bits, separately for integers and floats.
        exact_duplicates: groups of identical files among all files.
        near_duplicates: groups of images that look the same but differ in bytes, among the opened files.
    """

    scan: FolderScan
    labels: FolderLabels
    opened: int
    broken: Mapping[str, str]
    sizes: Mapping[tuple[int, int], int]
    converted: Mapping[str, int]
    colour_share: float
    background_level: int | None
    extents: tuple[Extent, ...]
    exact_duplicates: DuplicateGroups
    near_duplicates: DuplicateGroups

    @property
    def images(self) -> int:
        """Number of readable training images; an estimate if not all images were opened."""
        return round(len(self.scan.files["train"]) * (1 - self.broken_share))

    @property
    def broken_share(self) -> float:
        """Share of broken files among the opened files, in [0, 1]."""
        return len(self.broken) / self.opened

    @property
    def shorter_sides(self) -> tuple[int, int, int]:
        """Smallest, median and largest shorter side of the images in pixels."""
        sides = Counter[int]()
        for size, count in self.sizes.items():
            sides[min(size)] += count
        return min(sides), median_low(sides.elements()), max(sides)


def survey_folder(
    root: Path, *, every: bool = False, labels: LabelMode = "auto", hold_out_fraction: float = 0
) -> FolderSurvey:
    """Survey an image folder.

    Args:
        root: the folder.
        every: open every image instead of at most ``MAX_OPENED``.
        labels: the option ``labels`` of the data set.
        hold_out_fraction: fraction of each class to hold out as test images.

    Raises:
        DataError: there are no images, or no image can be read.
    """
    scan = scan_folder(root)
    read = read_labels(scan, labels)
    exact = exact_duplicates(scan)
    if hold_out_fraction:
        scan = hold_out(scan, hold_out_fraction, 0, exact)
        read = read_labels(scan, labels)
    paths = [file.path for file in scan.all_files]
    if not every and len(paths) > MAX_OPENED:
        paths = [paths[index * len(paths) // MAX_OPENED] for index in range(MAX_OPENED)]

    def open_image(path: str) -> tuple[tuple[int, int], DecodedImage]:
        thumbnail = decode_image(root / path, 3, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), "image")
        return read_image_size(root / path), thumbnail

    broken: dict[str, str] = {}
    readable: list[str] = []
    sizes: Counter[tuple[int, int]] = Counter()
    converted: Counter[str] = Counter()
    deep: dict[int, Extent] = {}
    thumbnails = np.empty((len(paths), 3, THUMBNAIL_SIDE, THUMBNAIL_SIDE), dtype=np.uint8)
    with quiet_pillow():
        for path, result in zip(paths, read_in_threads(open_image, paths), strict=True):
            if isinstance(result, str):
                broken[path] = result
                continue
            size, decoded = result
            index = len(readable)
            thumbnails[index] = decoded.pixels
            if decoded.extent:
                deep[index] = decoded.extent
            sizes[size] += 1
            converted.update(decoded.conversions)
            readable.append(path)
    if not readable:
        raise no_readable_images(scan, broken)
    thumbnails = thumbnails[: len(readable)]
    extents = merge_extents(deep.values())
    suggested = suggest_range(extents)
    for index, extent in deep.items():
        thumbnails[index] = rescale(thumbnails[index], extent, suggested or (0, TOP[extent.kind]))
    exact = tuple(group for group in exact if not broken.keys() & set(group))
    return FolderSurvey(
        scan,
        read,
        opened=len(paths),
        broken=broken,
        sizes=sizes,
        converted=dict(sorted(converted.items())),
        colour_share=float(((thumbnails.max(1) - thumbnails.min(1)).max((1, 2)) > COLOUR_THRESHOLD).mean()),
        background_level=_background_level(thumbnails),
        extents=extents,
        exact_duplicates=exact,
        near_duplicates=near_duplicates(readable, thumbnails, exact),
    )


def _background_level(thumbnails: NDArray[np.uint8]) -> int | None:
    grey = thumbnails.mean(axis=1)
    edges = np.concatenate([grey[:, 0], grey[:, -1], grey[:, 1:-1, 0], grey[:, 1:-1, -1]], axis=1)
    levels = np.median(edges, axis=1)
    common = float(np.median(levels))
    share = float((np.abs(levels - common) <= BACKGROUND_TOLERANCE).mean())
    return round(common) if share >= BACKGROUND_MIN_SHARE else None
