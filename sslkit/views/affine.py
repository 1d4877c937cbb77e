"""View policy with random rotation, translation, scale and shear, for images such as digits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from sslkit.contracts.context import Context
from sslkit.contracts.preprocessing import Interpolation
from sslkit.contracts.views import ViewGroup
from sslkit.views.effects import EffectOptions
from sslkit.views.option_types import Probability, Range, Strength
from sslkit.views.policy import GlobalViewOptions, Policy
from sslkit.views.resize import resize_shorter_side
from sslkit.views.sampling import RandomValues, uniform
from sslkit.views.warp import Padding, affine_matrices, warp


class AffineGeometry(GlobalViewOptions):
    """Options of the affine map."""

    degrees: Annotated[float, Field(ge=0, le=180)] = 15.0
    """Largest rotation in degrees, in both directions."""

    translate: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Largest shift along each axis as a fraction of the side, in both directions."""

    scale: Range = (0.8, 1.2)
    """Smallest and largest scale, where 1 keeps the size of the image."""

    shear: Annotated[float, Field(ge=0, le=60)] = 10.0
    """Largest shear along each axis in degrees, in both directions."""

    padding: Padding = "border"
    """Pixel values outside the image: "border" repeats the edge, "zeros" is black, "reflection" mirrors the image."""

    interpolation: Interpolation = "bilinear"
    """Interpolation method, "bilinear" or "bicubic"."""


class Affine(Policy):
    """View policy: randomly rotated, shifted, scaled and sheared copies of each image.

    Images may have any number of channels. If the shorter side of an image differs from the side of a view, the image
    is first resized, with antialiasing.
    """

    api = 2

    class Options(EffectOptions, AffineGeometry):
        flip_p: Probability = 0.0
        """Probability of a horizontal flip."""

        brightness: Strength = 0.0
        """Brightness is multiplied by a random number in 1 ± this value, at least 0."""

        contrast: Strength = 0.0
        """Contrast is multiplied by a random number in 1 ± this value, at least 0."""

        saturation: Strength = 0.0
        """Saturation is multiplied by a random number in 1 ± this value, at least 0; needs RGB."""

        hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
        """Largest hue rotation as a fraction of a full turn, in both directions; needs RGB."""

        blur_sigma: Range = (0.1, 1.0)
        """Smallest and largest sigma of the blur in pixels."""

    options: Options

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__(options, context, options.view_groups(context))

    def random_geometry(self, group: ViewGroup) -> list[RandomValues]:
        """Return the random values that ``warp_images`` needs, all of them uniform.

        For n images and V views, ``angle`` and ``scale`` are ``[n, V]``; ``translate`` and ``shear`` are ``[n, V, 2]``.
        """
        options, count = self.options, group.count
        return [
            uniform("angle", (count,), -options.degrees, options.degrees),
            uniform("translate", (count, 2), -options.translate, options.translate),
            uniform("scale", (count,), *options.scale),
            uniform("shear", (count, 2), -options.shear, options.shear),
        ]

    def warp_images(self, images: Tensor, group: ViewGroup, parameters: Mapping[str, Tensor]) -> Tensor:
        images = resize_shorter_side(images, group.size)
        height, width = images.shape[-2:]
        angle, translate, scale, shear, flip = (
            parameters[name] for name in ("angle", "translate", "scale", "shear", "flip")
        )
        matrices = affine_matrices(angle, translate, scale, shear, flip, height, width)
        padding, interpolation = self.options.padding, self.options.interpolation
        return torch.stack(
            [warp(images, matrices[:, view], group.size, padding, interpolation) for view in range(group.count)]
        )
