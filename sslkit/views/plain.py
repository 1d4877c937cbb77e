"""View policy with the unaugmented central square of each image."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from sslkit.contracts import options
from sslkit.contracts.context import Context
from sslkit.contracts.views import Parameters, ViewGroup, Views
from sslkit.views.option_types import Side, resolve_size
from sslkit.views.preprocess import preprocess


class Plain(Views):
    """View policy: one unaugmented view. Losses compare each image with its positives, such as neighbours."""

    api = 2
    augments = False

    class Options(options.Options):
        size: Side | Literal["auto"] = "auto"
        """Side of the view in pixels; "auto" is the size that pretrained weights were trained with, else the images'
        shorter side."""

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__(options, context)
        self.groups = (ViewGroup(1, resolve_size(options.size, context.image_size), is_global=True),)

    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Return no parameters."""
        return ({},)

    def apply(self, images: Tensor, parameters: Parameters) -> tuple[Tensor, ...]:
        """Return the normalised central squares ``[1, B, C, S, S]`` of uint8 images ``[B, C, H, W]``."""
        return (preprocess(images, self.preprocessing)[None],)
