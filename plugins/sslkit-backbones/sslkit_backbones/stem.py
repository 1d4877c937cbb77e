"""First layers of a backbone: the stem for small images, or the ImageNet stem."""

from __future__ import annotations

import warnings
from typing import Literal

import sslkit

Stem = Literal["small", "imagenet"]

SMALL_STEM_BELOW = 100
"""View size in pixels below which ``stem = "auto"`` selects the small stem."""

IMAGENET_STEM_WARNS_UP_TO = 64
"""View size in pixels up to which the ImageNet stem causes a warning, because its final map is at most 2 x 2."""


class StemOptions(sslkit.Options):
    """Options of a backbone that has two stems: one for small images, and the ImageNet stem."""

    stem: Literal["auto", "small", "imagenet"] = "auto"
    """First layers: "small", "imagenet" as in torchvision, or "auto", which is "small" for views under 100 pixels."""


def choose_stem(options: StemOptions, context: sslkit.Context) -> Stem:
    """Return the stem that the options select; ``auto`` selects the small stem for global views under 100 pixels.

    If the view size is unknown, the image size is used.

    Warns:
        UserWarning: ``stem = "imagenet"`` with views of 64 pixels or less.
    """
    size = context.view_size or context.image_size
    if options.stem == "auto":
        return "small" if size < SMALL_STEM_BELOW else "imagenet"
    if options.stem == "imagenet" and size <= IMAGENET_STEM_WARNS_UP_TO:
        warnings.warn(
            f'stem = "imagenet" discards most of a view of {size} px: its last map is '
            f'{-(-size // 32)} x {-(-size // 32)}. Use stem = "small" (or "auto"), or larger views.',
            UserWarning,
            stacklevel=3,
        )
    return options.stem


def stem_mismatch(stem: Stem, channels: int, *, rgb_only: bool = True) -> str:
    """Return why the backbone's weights do not fit torchvision's or timm's model, or ``""`` if they fit.

    Args:
        stem: the stem of the backbone.
        channels: number of channels of the images.
        rgb_only: whether the library's model takes only three channels.
    """
    if stem == "small":
        return 'it has the small stem; only stem = "imagenet" fits the published network'
    if rgb_only and channels != 3:
        return f"its first convolution takes {channels} channels, the published network's 3"
    return ""
