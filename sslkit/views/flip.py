"""Flip: the whole image, mirrored at random, with optional colour jitter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from sslkit.contracts.context import Context
from sslkit.contracts.options import Options as BaseOptions
from sslkit.contracts.views import Parameters, ViewGroup
from sslkit.views.effects import Effects
from sslkit.views.fields import Count, Probability, Side, Strength, resolve
from sslkit.views.geometry import crop, square_box
from sslkit.views.policy import Policy
from sslkit.views.sampling import happens


class Flip(Policy):
    """Several copies of each image's central square, each mirrored at random; no crop.

    Raises:
        OptionError: an effect needs RGB and the images have another number of channels.
    """

    api = 1

    class Options(BaseOptions):
        size: Side | Literal["auto"] = "auto"
        """Side of a view in pixels; auto: the images' shorter side."""

        views: Count = 2
        """Views of each image, all global."""

        flip_p: Probability = 0.5
        """Probability of mirroring left and right."""

        brightness: Strength = 0.4
        """Brightness factors are uniform in 1 ± this, from 0."""

        contrast: Strength = 0.4
        """Contrast factors are uniform in 1 ± this, from 0."""

        saturation: Strength = 0.2
        """Saturation factors are uniform in 1 ± this, from 0; needs RGB."""

        hue: Annotated[float, Field(ge=0, le=0.5)] = 0.1
        """Hue is turned by up to this part of a full turn, either way; needs RGB."""

        jitter_p: Probability = 0.0
        """Probability of jittering brightness, contrast, saturation and hue, together; 0: no jitter."""

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__(options, context)
        self.options = options
        self.groups = (ViewGroup(options.views, resolve(options.size, context.image_size), is_global=True),)
        self.effects = Effects(
            brightness=options.brightness,
            contrast=options.contrast,
            saturation=options.saturation,
            hue=options.hue,
            jitter_p=options.jitter_p,
        )
        self.effects.require_channels(context.channels)

    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Random parameters for ``n`` images: ``flip`` ``[n, V]`` and those of the effects."""
        views = self.options.views
        flip = happens(n, (self.options.flip_p,) * views, generator).float()
        return ({"flip": flip, **self.effects.draw(n, views, generator)},)

    def place(self, images: Tensor, group: ViewGroup, parameters: Mapping[str, Tensor]) -> Tensor:
        flips = parameters["flip"]
        boxes = square_box(flips, images.shape[-2], images.shape[-1])
        return crop(images, boxes, flips, group.size)
