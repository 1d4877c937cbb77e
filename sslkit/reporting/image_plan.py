"""Number and resolution of the images on a page, chosen so that the file can be sent by email."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sslkit.data.splits import evenly_spaced_indices
from sslkit.reporting.original_images import OriginalImages
from sslkit.reporting.thumbnails import data_uri

IMAGE_BYTES = 6_000_000
"""Largest total size in bytes of the images in a report, without those of the map. With the map, charts and texts, a
report has at most 10 MB, which mail servers accept."""

PLANS = ((22, 256), (22, 192), (22, 144), (11, 144), (11, 96), (6, 96), (3, 96))
"""Images of a class, most and least confident each, and longest side of an image in pixels. The first plan within the
limit is used. A line of the page has up to 11 images."""

SAMPLES = 12
"""Number of images from which the size of an encoded image is estimated."""

OTHER_IMAGES = 308
"""Largest number of images outside the classes: nearest neighbours, outliers and near-duplicates."""


@dataclass(frozen=True)
class ImagePlan:
    """How many images a page shows, and how large they are.

    Attributes:
        per_row: for each class, show up to this many of the most confident images, and up to this many of the least
            confident images; 0 shows no images.
        longest: longest side of an image in pixels.
    """

    per_row: int
    longest: int


LARGEST = ImagePlan(*PLANS[0])
"""Plan for the fewest classes."""


def plan_images(originals: OriginalImages, sizes: Sequence[int], limit: int = IMAGE_BYTES) -> ImagePlan:
    """Return the first of ``PLANS`` whose images fit into ``limit`` bytes; a plan without images if none does.

    The size of the images is estimated from ``SAMPLES`` of them.

    Args:
        originals: the images.
        sizes: number of images of each class on the page.
        limit: largest total size in bytes.
    """
    count = len(originals.images)
    sample = evenly_spaced_indices(count, min(count, SAMPLES)).tolist()
    bytes_of: dict[int, float] = {}
    for per_row, longest in PLANS:
        if longest not in bytes_of:
            lengths = [len(data_uri(originals.load(index, longest))) for index in sample]
            bytes_of[longest] = sum(lengths) / len(lengths)
        shown = sum(min(2 * per_row, size) for size in sizes) + OTHER_IMAGES
        if shown * bytes_of[longest] <= limit:
            return ImagePlan(per_row, longest)
    return ImagePlan(0, PLANS[-1][1])
