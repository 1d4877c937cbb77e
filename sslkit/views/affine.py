"""Affine: random rotation, translation, scale and shear, for images such as digits that keep their meaning so."""

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
from sslkit.views.fields import Count, Probability, Side, Span, Strength, resolve
from sslkit.views.geometry import Interpolation, resize_shorter
from sslkit.views.policy import Policy
from sslkit.views.sampling import happens, uniform
from sslkit.views.warp import Padding, affine_matrices, warp


class Affine(Policy):
    """Several randomly rotated, moved, scaled and sheared copies of each image.

    Works with any number of channels.  Images of another size are first resized, antialiased, so that their shorter
    side is the view's.
    """

    api = 1

    class Options(BaseOptions):
        size: Side | Literal["auto"] = "auto"
        """Side of a view in pixels; auto: the images' shorter side."""

        views: Count = 2
        """Views of each image, all global."""

        degrees: Annotated[float, Field(ge=0, le=180)] = 15.0
        """Rotated by up to this many degrees, either way."""

        translate: Annotated[float, Field(ge=0, le=1)] = 0.1
        """Moved along each axis by up to this part of the side, either way."""

        scale: Span = (0.8, 1.2)
        """Smallest and largest factor of scale."""

        shear: Annotated[float, Field(ge=0, le=60)] = 10.0
        """Sheared along each axis by up to this many degrees, either way."""

        padding: Padding = "border"
        """Outside the image: border repeats its edge, zeros is black, reflection mirrors it."""

        interpolation: Interpolation = "bilinear"
        """bilinear or bicubic."""

        flip_p: Probability = 0.0
        """Probability of mirroring left and right."""

        brightness: Strength = 0.0
        """Brightness factors are uniform in 1 ± this, from 0."""

        contrast: Strength = 0.0
        """Contrast factors are uniform in 1 ± this, from 0."""

        jitter_p: Probability = 0.8
        """Probability of jittering brightness and contrast, together."""

        blur_p: Probability = 0.0
        """Probability of Gaussian blur."""

        blur_sigma: Span = (0.1, 1.0)
        """Smallest and largest sigma of the blur in pixels."""

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__(options, context)
        self.options = options
        self.groups = (ViewGroup(options.views, resolve(options.size, context.image_size), is_global=True),)
        self.effects = Effects(
            brightness=options.brightness,
            contrast=options.contrast,
            jitter_p=options.jitter_p,
            blur_p=(options.blur_p,) * options.views,
            blur_sigma=options.blur_sigma,
        )

    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Random parameters for ``n`` images.

        ``angle`` and ``scale`` ``[n, V]``, ``translate`` and ``shear`` ``[n, V, 2]`` as
        ``affine_matrices`` takes them, each uniform, ``flip`` ``[n, V]``, and those of the
        ``Effects``.
        """
        options = self.options
        shape = (n, options.views)
        return (
            {
                "angle": uniform(shape, generator, -options.degrees, options.degrees),
                "translate": uniform((*shape, 2), generator, -options.translate, options.translate),
                "scale": uniform(shape, generator, *options.scale),
                "shear": uniform((*shape, 2), generator, -options.shear, options.shear),
                "flip": happens(n, (options.flip_p,) * options.views, generator).float(),
                **self.effects.draw(n, options.views, generator),
            },
        )

    def place(self, images: Tensor, group: ViewGroup, parameters: Mapping[str, Tensor]) -> Tensor:
        images = resize_shorter(images, group.size)
        height, width = images.shape[-2:]
        angle, translate, scale, shear, flip = (
            parameters[name] for name in ("angle", "translate", "scale", "shear", "flip")
        )
        matrices = affine_matrices(angle, translate, scale, shear, flip, height, width)
        padding, interpolation = self.options.padding, self.options.interpolation
        return torch.stack(
            [warp(images, matrices[:, view], group.size, padding, interpolation) for view in range(group.count)]
        )
