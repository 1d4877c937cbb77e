"""Data set of scikit-learn's digits on textured backgrounds, with masks; it needs no download."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import interpolate

import sslkit

DIGIT_SIDES = (14, 26)
"""Smallest and largest side of a digit in a scene, in pixels."""

MIN_INK = 0.35
"""Intensity, in [0, 1], above which a pixel belongs to a digit."""


class DigitScenes(sslkit.Dataset):
    """Data set of images ``[channels, side, side]`` with digits on textured backgrounds, and masks with 11 classes.

    The ``train`` split uses digits from the ``train`` split of the ``digits`` data set; ``test`` uses digits from
    ``test``.
    """

    api = 2

    class Options(sslkit.Options):
        """Number, size and content of the scenes."""

        train: int = Field(default=600, ge=8, le=1_000_000)
        """Number of training scenes."""
        test: int = Field(default=300, ge=1, le=1_000_000)
        """Number of test scenes."""
        side: int = Field(default=48, ge=32, le=1024)
        """Side of a scene in pixels."""
        most_digits: int = Field(default=3, ge=1, le=1000)
        """Largest number of digits in a scene."""
        channels: int = Field(default=1, ge=1, le=16)
        """Number of channels; with more than 1, backgrounds differ between channels."""
        seed: int = Field(default=0, ge=0, lt=2**63)
        """Seed of the random number generator."""

    options: Options

    @classmethod
    def check_options(cls, folder: Path) -> Mapping[str, Any]:
        return {"train": 8, "test": 3}

    @property
    def splits(self) -> tuple[str, ...]:
        return "train", "test"

    @property
    def mask_names(self) -> tuple[str, ...]:
        return "background", *"0123456789"

    def load(self, split: str) -> sslkit.Split:
        if split not in self.splits:
            raise sslkit.DataError(f"digit-scenes has no split {split!r}. It has: train, test.")
        own = self.options
        images, masks = compose(
            sslkit.Digits(sslkit.Digits.Options(size=16)).load(split),
            own.train if split == "train" else own.test,
            own.side,
            own.channels,
            own.most_digits,
            sslkit.seeded_generator(own.seed, "evaluation", self.splits.index(split)),
        )
        return sslkit.Split(sslkit.TensorStore(images), masks=masks)


def compose(
    digits: sslkit.Split, count: int, side: int, channels: int, most_digits: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw scenes of one to ``most_digits`` digits with random positions and sizes, on random textures, with masks.

    Args:
        digits: labelled images of single digits, one channel, bright on black.
        count: number of scenes, N.
        side: side of a scene in pixels, S.
        channels: number of channels of a scene, C; with more than 1, the background is coloured.
        most_digits: largest number of digits in a scene; later digits cover earlier digits in the mask.
        generator: random number generator on the CPU.

    Returns:
        uint8 images ``[N, C, S, S]``, and uint8 masks ``[N, S, S]``: 0 for background, 1 + d for digit d.
    """
    assert digits.labels is not None
    scenes = _textures(count, side, channels, generator)
    masks = torch.zeros(count, side, side, dtype=torch.uint8)
    for scene, mask in zip(scenes, masks, strict=True):
        for _ in range(int(torch.randint(1, most_digits + 1, (), generator=generator))):
            index = torch.randint(len(digits.images), (1,), generator=generator)
            size = int(torch.randint(DIGIT_SIDES[0], DIGIT_SIDES[1] + 1, (), generator=generator))
            ink = digits.images.gather(index).cpu().float()[:, :1] / 255
            ink = interpolate(ink, (size, size), mode="bilinear", antialias=True)[0, 0]
            top, left = torch.randint(0, side - size + 1, (2,), generator=generator).tolist()
            window = (slice(top, top + size), slice(left, left + size))
            scene[:, *window] = torch.maximum(scene[:, *window], ink)
            mask[window][ink > MIN_INK] = 1 + int(digits.labels[index])
    return (scenes * 255).round().to(torch.uint8), masks


def _textures(count: int, side: int, channels: int, generator: torch.Generator) -> Tensor:
    """Return random textures ``[count, channels, side, side]``, float32 in [0, 0.5]."""
    coarse = torch.rand(count, channels, 5, 5, generator=generator)
    blotches = interpolate(coarse, (side, side), mode="bicubic", align_corners=True).clamp(0, 1)
    axis = torch.arange(side, dtype=torch.float32)
    angle, frequency, phase = torch.rand(3, count, 1, 1, generator=generator)
    rotated = (angle * torch.pi).cos() * axis[None, :, None] + (angle * torch.pi).sin() * axis[None, None, :]
    gratings = (0.5 + 0.5 * (rotated * (0.3 + 1.2 * frequency) + 6.3 * phase).sin())[:, None]
    texture: Tensor = 0.3 * blotches + 0.2 * gratings
    return texture
