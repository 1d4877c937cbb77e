"""Crops: random resized crops with colour effects, global and local, as SwAV, DINO and Self-Classifier use them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from sslkit.contracts.context import Context
from sslkit.contracts.options import Options as BaseOptions
from sslkit.contracts.views import Parameters, ViewGroup
from sslkit.views.effects import Effects
from sslkit.views.fields import AreaSpan, Count, PerView, Probability, Side, Span, Strength, resolve
from sslkit.views.geometry import Interpolation, crop, crop_boxes
from sslkit.views.policy import Policy
from sslkit.views.sampling import happens, uniform

TRIES = 10


class Crops(Policy):
    """Several random resized crops of each image, every one with its own flip, colours, blur and solarisation.

    Boxes have torchvision's ``RandomResizedCrop`` distribution: area uniform, ratio log-uniform, the first of ten
    tries that fits, else the central box.  The defaults are meant for small images.

    Raises:
        OptionError: an effect needs RGB and the images have another number of channels.
    """

    api = 1

    class Options(BaseOptions):
        size: Side | Literal["auto"] = "auto"
        """Side of a global view in pixels; auto: the images' shorter side."""

        global_crops: Count = 2
        """Global views of each image."""

        global_scale: AreaSpan = (0.2, 1.0)
        """Smallest and largest part of the image's area in a global view."""

        local_crops: Annotated[int, Field(ge=0, le=256)] = 0
        """Local views of each image."""

        local_size: Side | Literal["auto"] = "auto"
        """Side of a local view in pixels; auto: 9/16 of a global view (18 for 32)."""

        local_scale: AreaSpan = (0.05, 0.2)
        """Smallest and largest part of the image's area in a local view."""

        ratio: Span = (3 / 4, 4 / 3)
        """Smallest and largest width / height of a crop."""

        interpolation: Interpolation = "bilinear"
        """bilinear or bicubic; both are antialiased where a crop is shrunk."""

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

        jitter_p: Probability = 0.8
        """Probability of jittering brightness, contrast, saturation and hue, together."""

        grayscale_p: Probability = 0.2
        """Probability of grayscale; needs RGB."""

        blur_p: PerView = 0.0
        """Probability of Gaussian blur: one for every view, or a list with one for each global view and, where there
        are local crops, a last one for all of these."""

        blur_sigma: Span = (0.1, 2.0)
        """Smallest and largest sigma of the blur in pixels."""

        solarise_p: PerView = 0.0
        """Probability of solarisation; one, or a list as for blur_p."""

        solarise_threshold: Probability = 0.5
        """Values from here up, of 0..1, are inverted."""

        @field_validator("blur_p", "solarise_p")
        @classmethod
        def _one_for_each(cls, value: PerView, info: ValidationInfo) -> PerView:
            global_crops, local_crops = info.data.get("global_crops"), info.data.get("local_crops")
            if isinstance(value, float) or global_crops is None or local_crops is None:
                return value
            expected = global_crops + (local_crops > 0)
            if len(value) != expected:
                last = " and one for the local crops" if local_crops else ""
                raise ValueError(
                    f"a list needs {expected} probabilities, one for each of {global_crops} global crops{last}"
                )
            return value

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__(options, context)
        self.options = options
        size = resolve(options.size, context.image_size)
        groups = [ViewGroup(options.global_crops, size, is_global=True)]
        if options.local_crops:
            local_size = resolve(options.local_size, round(size * 9 / 16))
            groups.append(ViewGroup(options.local_crops, local_size, is_global=False))
        self.groups = tuple(groups)
        self.effects = tuple(self._effects(group) for group in groups)
        for effects in self.effects:
            effects.require_channels(context.channels)

    def _effects(self, group: ViewGroup) -> Effects:
        options = self.options

        def of_group(value: PerView) -> tuple[float, ...]:
            if isinstance(value, float):
                return (value,) * group.count
            return value[: group.count] if group.is_global else value[-1:] * group.count

        return Effects(
            brightness=options.brightness,
            contrast=options.contrast,
            saturation=options.saturation,
            hue=options.hue,
            jitter_p=options.jitter_p,
            grayscale_p=options.grayscale_p,
            blur_p=of_group(options.blur_p),
            blur_sigma=options.blur_sigma,
            solarise_p=of_group(options.solarise_p),
            solarise_threshold=options.solarise_threshold,
        )

    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Random parameters for ``n`` images.

        For each group ``area`` and ``log_ratio`` ``[n, V, 10]`` of the tries, ``position`` ``[n, V, 2]``, ``flip``
        ``[n, V]``, and those of its ``Effects``.  They do not depend on the images' size.
        """
        return tuple(
            self._draw(n, group, effects, generator) for group, effects in zip(self.groups, self.effects, strict=True)
        )

    def _draw(self, n: int, group: ViewGroup, effects: Effects, generator: torch.Generator) -> dict[str, Tensor]:
        options, shape = self.options, (n, group.count)
        scale = options.global_scale if group.is_global else options.local_scale
        low, high = (math.log(value) for value in options.ratio)
        return {
            "area": uniform((*shape, TRIES), generator, *scale),
            "log_ratio": uniform((*shape, TRIES), generator, low, high),
            "position": uniform((*shape, 2), generator),
            "flip": happens(n, (options.flip_p,) * group.count, generator).float(),
            **effects.draw(n, group.count, generator),
        }

    def place(self, images: Tensor, group: ViewGroup, parameters: Mapping[str, Tensor]) -> Tensor:
        height, width = images.shape[-2:]
        area, log_ratio, position = parameters["area"], parameters["log_ratio"], parameters["position"]
        boxes = crop_boxes(area, log_ratio, position, height, width, self.options.ratio)
        return crop(images, boxes, parameters["flip"], group.size, self.options.interpolation)
