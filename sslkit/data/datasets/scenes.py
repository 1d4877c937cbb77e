"""Composes small scenes with a class for every pixel: digits on textured backgrounds."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sslkit.contracts.dataset import Split

DIGIT_SIDES = (14, 26)
"""Smallest and largest side of a digit in a scene, in pixels."""

INK = 0.35
"""A pixel belongs to a digit where its ink is above this part of full ink."""


def compose(
    digits: Split, count: int, side: int, channels: int, most_digits: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Scenes of one to ``most_digits`` digits, drawn at random places and sizes on random textures.

    Args:
        digits: labelled images of single digits, one channel, bright on black.
        count: scenes.
        side: side of a scene in pixels.
        channels: 1, or 3 for scenes whose background is coloured.
        most_digits: most digits of a scene; a later one covers an earlier one.
        generator: of everything random.

    Returns:
        uint8 images ``[N, C, S, S]``, and uint8 masks ``[N, S, S]``: 0 for background, 1 + d for digit d.
    """
    assert digits.labels is not None
    scenes = _textures(count, side, channels, generator)
    masks = torch.zeros(count, side, side, dtype=torch.uint8)
    for number in range(count):
        for _ in range(int(torch.randint(1, most_digits + 1, (), generator=generator))):
            place = torch.randint(len(digits.images), (1,), generator=generator)
            own = int(torch.randint(DIGIT_SIDES[0], DIGIT_SIDES[1] + 1, (), generator=generator))
            ink = digits.images.gather(place).cpu().float()[:, :1] / 255
            ink = interpolate(ink, (own, own), mode="bilinear", antialias=True)[0, 0]
            top, left = torch.randint(0, side - own + 1, (2,), generator=generator).tolist()
            window = (slice(top, top + own), slice(left, left + own))
            scenes[number][:, *window] = torch.maximum(scenes[number][:, *window], ink)
            masks[number][window][ink > INK] = 1 + int(digits.labels[place])
    return (scenes * 255).round().to(torch.uint8), masks


def _textures(count: int, side: int, channels: int, generator: torch.Generator) -> Tensor:
    """Blotches and gratings, at most half as bright as ink: float32 ``[N, C, S, S]``."""
    coarse = torch.rand(count, channels, 5, 5, generator=generator)
    blotches = interpolate(coarse, (side, side), mode="bicubic", align_corners=True).clamp(0, 1)
    axis = torch.arange(side, dtype=torch.float32)
    angle, frequency, phase = torch.rand(3, count, 1, 1, generator=generator)
    turned = (angle * torch.pi).cos() * axis[None, :, None] + (angle * torch.pi).sin() * axis[None, None, :]
    gratings = (0.5 + 0.5 * (turned * (0.3 + 1.2 * frequency) + 6.3 * phase).sin())[:, None]
    texture: Tensor = 0.3 * blotches + 0.2 * gratings
    return texture
