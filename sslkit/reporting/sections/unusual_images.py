"""Images that a user should check: outliers and near-duplicates."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sslkit.errors import InputError
from sslkit.features.near_duplicates import duplicate_groups, near_duplicates
from sslkit.features.outliers import OUTLIER_SCORE, outlier_scores
from sslkit.reporting.encoded_split import EncodedSplit

MAX_IMAGES = 20_000
"""Maximum number of images that are compared with each other. If there are more, a random sample is compared, because
comparing all would take minutes."""

MAX_OUTLIERS = 40
"""Maximum number of outliers to show."""

MAX_GROUPS = 20
"""Maximum number of groups of near-duplicates to show."""

MAX_COPIES = 8
"""Maximum number of images to show from each group."""


def unusual_images(encoded: EncodedSplit, references: Tensor | None) -> dict[str, Any] | None:
    """Return the template variables of outliers and near-duplicates, or None if they cannot be found.

    Args:
        encoded: the images.
        references: features ``[M, D]`` of typical training images, to compare test images with. With None, the images
            are compared with each other.
    """
    indices = encoded.sample(MAX_IMAGES)
    features = encoded.features[indices]
    try:
        scores = outlier_scores(features, references=references)
        pairs = near_duplicates(features)
    except InputError:
        return None
    order = scores.argsort(descending=True, stable=True)
    found = order[scores[order] >= OUTLIER_SCORE]
    tiles = encoded.tiles(indices[found[:MAX_OUTLIERS]])
    for tile, score in zip(tiles, scores[found].tolist(), strict=False):
        tile["text"] = f"outlier score {score:.1f}, {tile['text']}"
    groups = duplicate_groups(pairs)
    similarity = {image: value for *pair, value in reversed(pairs) for image in pair}
    shown = []
    for group in groups[:MAX_GROUPS]:
        row = encoded.tiles(indices[group[:MAX_COPIES]])
        for tile, image in zip(row, group, strict=False):
            tile["text"] = f"similarity {similarity[image]:.3f}, {tile['text']}"
        shown.append((f"{len(group)} images", row))
    sampled = f" of {len(encoded.features)}" if len(indices) < len(encoded.features) else ""
    compared = "with the training images" if references is not None else "with each other"
    outliers = "1 outlier" if len(found) == 1 else f"{len(found) or 'no'} outliers"
    duplicates = "1 group" if len(groups) == 1 else f"{len(groups) or 'no'} groups"
    return {
        "outliers": tiles,
        "outliers_note": (
            f"{outliers} among {len(indices)}{sampled} {encoded.name} images, compared {compared}: a score of 0 is "
            f"typical, and an image with at least {OUTLIER_SCORE} is an outlier"
            + (f"; the {len(tiles)} highest scores are shown." if len(found) > len(tiles) else ".")
        ),
        "duplicates": shown,
        "duplicates_note": (
            f"{duplicates} of near-duplicates among {len(indices)}{sampled} {encoded.name} images, by the cosine "
            "similarity of their features"
            + (f"; the {len(shown)} largest are shown." if len(groups) > len(shown) else ".")
        ),
    }
