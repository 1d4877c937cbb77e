"""Flip: the central square of the image, mirrored at random, with optional effects."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sslkit.contracts.context import Context
from sslkit.contracts.views import ViewGroup
from sslkit.views.effects import EffectOptions
from sslkit.views.option_types import Probability
from sslkit.views.policy import GlobalViewOptions, Policy
from sslkit.views.resize import central_square, resized_crop


class Flip(Policy):
    """Several copies of each image's central square, each mirrored at random, without random crops."""

    api = 1

    class Options(EffectOptions, GlobalViewOptions):
        jitter_p: Probability = 0.0
        """Probability of jittering brightness, contrast, saturation and hue, all together; 0: no jitter."""

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__(options, context, options.view_groups(context))

    def warp_images(self, images: Tensor, group: ViewGroup, parameters: Mapping[str, Tensor]) -> Tensor:
        flip = parameters["flip"]
        boxes = central_square(flip, images.shape[-2], images.shape[-1])
        return resized_crop(images, boxes, flip, group.size)
