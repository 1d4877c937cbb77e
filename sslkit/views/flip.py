"""View policy with randomly flipped central squares and optional effects."""

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
    """View policy: copies of the central square of each image, each randomly flipped, without random crops."""

    api = 2

    class Options(EffectOptions, GlobalViewOptions):
        jitter_p: Probability = 0.0
        """Probability of a random change of brightness, contrast, saturation and hue, all together."""

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__(options, context, options.view_groups(context))

    def warp_images(self, images: Tensor, group: ViewGroup, parameters: Mapping[str, Tensor]) -> Tensor:
        flip = parameters["flip"]
        boxes = central_square(flip, images.shape[-2], images.shape[-1])
        return resized_crop(images, boxes, flip, group.size)
