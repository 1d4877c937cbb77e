"""The choice between a stem for small images and ImageNet's."""

from __future__ import annotations

import warnings
from typing import Literal

import sslkit

Stem = Literal["small", "imagenet"]

SMALL_BELOW = 100
"""``auto`` takes the small stem for views below this many pixels."""

WASTEFUL_UP_TO = 64
"""The ImageNet stem leaves views of up to this many pixels with a final map of 2 x 2 or less."""


class StemOptions(sslkit.Options):
    """Options of a backbone with a choice of stems."""

    stem: Literal["auto", "small", "imagenet"] = "auto"
    """First layers: "small" keeps resolution, "imagenet" is torchvision's; "auto": small below 100 pixels."""


def choose_stem(options: StemOptions, context: sslkit.Context) -> Stem:
    """The stem for the size of the context's global views (of its images, where views are not settled).

    Warns:
        UserWarning: where ImageNet's stem was asked for and views are small.
    """
    size = context.view_size or context.image_size
    if options.stem == "auto":
        return "small" if size < SMALL_BELOW else "imagenet"
    if options.stem == "imagenet" and size <= WASTEFUL_UP_TO:
        warnings.warn(
            f'stem = "imagenet" throws away most of a view of {size} px: its last map has '
            f'{-(-size // 32)} x {-(-size // 32)} places. Use stem = "small" (or "auto"), or larger views.',
            UserWarning,
            stacklevel=3,
        )
    return options.stem


def own_stem(stem: Stem, channels: int, *, channels_too: bool = True) -> str:
    """Why weights with this stem fit no published network, in words; empty where they do.

    Args:
        stem: the stem.
        channels: channels of the images.
        channels_too: whether the other library's network takes three channels alone.
    """
    if stem == "small":
        return 'its stem is the small one; only stem = "imagenet" is the published network\'s'
    if channels_too and channels != 3:
        return f"its first convolution takes {channels} channels, the published network's 3"
    return ""
