"""View policy with random resized crops, global and local, as in SwAV, DINO and Self-Classifier."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from sslkit.contracts.context import Context
from sslkit.contracts.options import Options as BaseOptions
from sslkit.contracts.preprocessing import Interpolation
from sslkit.contracts.views import ViewGroup
from sslkit.views.effects import EffectOptions
from sslkit.views.option_types import AreaRange, Count, Probability, Range, Side, resolve_size
from sslkit.views.policy import Policy
from sslkit.views.resize import crop_boxes, resized_crop
from sslkit.views.sampling import RandomValues, uniform

TRIES = 10
"""Number of random boxes drawn for each crop; the first box that fits into the image is used."""


class CropGeometry(BaseOptions):
    """Options for the number, size and shape of the crops."""

    size: Side | Literal["auto"] = "auto"
    """Side of a global view in pixels; "auto" is the shorter side of the images."""

    global_crops: Count = 2
    """Number of global views of each image."""

    global_scale: AreaRange = (0.2, 1.0)
    """Smallest and largest area of a global view, as a fraction of the image's area."""

    weak_views: Annotated[int, Field(ge=0, le=255)] = 0
    """Number of global views that come first and are only cropped and flipped, without effects on pixels. Losses such
    as `self-label` take their targets from weak views. At least one global view must not be weak."""

    weak_scale: AreaRange = (0.8, 1.0)
    """Smallest and largest area of a weak view, as a fraction of the image's area."""

    local_crops: Annotated[int, Field(ge=0, le=256)] = 0
    """Number of local views of each image."""

    local_size: Side | Literal["auto"] = "auto"
    """Side of a local view in pixels; "auto" is 9/16 of the side of a global view (18 for 32)."""

    local_scale: AreaRange = (0.05, 0.2)
    """Smallest and largest area of a local view, as a fraction of the image's area."""

    ratio: Range = (3 / 4, 4 / 3)
    """Smallest and largest aspect ratio (width / height) of a crop."""

    interpolation: Interpolation = "bilinear"
    """Interpolation method, "bilinear" or "bicubic"; both use antialiasing if a crop is shrunk."""

    @field_validator("weak_views")
    @classmethod
    def _check_weak_views(cls, value: int, info: ValidationInfo) -> int:
        # info.data does not contain fields that failed their own validation.
        global_crops: int = info.data.get("global_crops", value + 1)
        if value >= global_crops:
            raise ValueError(f"must be less than global_crops = {global_crops}")
        return value


class Crops(Policy):
    """View policy: random resized crops of each image, each crop with its own flip, colours, blur and solarisation.

    Crop boxes have the distribution of torchvision's ``RandomResizedCrop``: the area is uniform, and the aspect ratio
    is log-uniform. The first of ten random boxes that fits into the image is used, or else a central box. The default
    options are for small images.
    """

    api = 2

    class Options(EffectOptions, CropGeometry):
        grayscale_p: Probability = 0.2
        """Probability of grayscale; needs RGB."""

    options: Options

    def __init__(self, options: Options, context: Context) -> None:
        size = resolve_size(options.size, context.image_size)
        groups = [ViewGroup(options.global_crops, size, is_global=True)]
        if options.local_crops:
            local_size = resolve_size(options.local_size, round(size * 9 / 16))
            groups.append(ViewGroup(options.local_crops, local_size, is_global=False))
        super().__init__(options, context, tuple(groups), options.weak_views)

    def random_geometry(self, group: ViewGroup) -> list[RandomValues]:
        """Return the random values that ``crop_boxes`` needs, for ten candidate boxes per view.

        For n images and V views, ``area`` and ``log_ratio`` are ``[n, V, 10]``; ``position`` is ``[n, V, 2]``.
        """
        options, count = self.options, group.count
        scale = options.global_scale if group.is_global else options.local_scale
        weak = options.weak_views if group.is_global else 0
        scales = [options.weak_scale] * weak + [scale] * (group.count - weak)
        low, high = (math.log(value) for value in options.ratio)
        return [
            RandomValues("area", (count, TRIES), tuple(scales)),
            uniform("log_ratio", (count, TRIES), low, high),
            uniform("position", (count, 2)),
        ]

    def warp_images(self, images: Tensor, group: ViewGroup, parameters: Mapping[str, Tensor]) -> Tensor:
        height, width = images.shape[-2:]
        # Boxes in the order of the views, so that resized_crop need not copy them.
        area, log_ratio, position = (parameters[name].transpose(0, 1) for name in ("area", "log_ratio", "position"))
        boxes = crop_boxes(area, log_ratio, position, height, width, self.options.ratio).transpose(0, 1)
        return resized_crop(images, boxes, parameters["flip"], group.size, self.options.interpolation)
