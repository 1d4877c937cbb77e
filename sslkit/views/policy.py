"""Base class of the built-in view policies, which crop or warp images, apply effects and normalise."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Literal

import torch
from torch import Tensor

from sslkit.contracts.context import Context
from sslkit.contracts.options import Options as BaseOptions
from sslkit.contracts.views import Parameters, ViewGroup, Views
from sslkit.views.constants import constant
from sslkit.views.effects import EffectOptions, Effects, apply_effects
from sslkit.views.option_types import Count, Side, resolve_size
from sslkit.views.sampling import RandomValues, draw_together, event


def to_float(images: Tensor) -> Tensor:
    """Convert uint8 images to float32 in [0, 1]."""
    return images.to(torch.float32).div_(255)


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Return ``(images - mean) / std`` for float images ``[..., C, H, W]``, which are overwritten.

    Grey images (C = 1) become a new tensor with a channel for each value of ``mean``, because pretrained weights expect
    RGB.
    """
    shift, scale = constant((tuple(mean), tuple(std)), images.device)[..., None, None]
    if images.shape[-3] == 1 < len(mean):
        images = images - shift
        return images.div_(scale)
    return images.sub_(shift).div_(scale)


class GlobalViewOptions(BaseOptions):
    """Options of a view policy with only global views."""

    size: Side | Literal["auto"] = "auto"
    """Side of a view in pixels; "auto" is the shorter side of the images."""

    views: Count = 2
    """Number of views of each image; all are global."""

    def view_groups(self, context: Context) -> tuple[ViewGroup, ...]:
        """Return the only view group, in a tuple."""
        return (ViewGroup(self.views, resolve_size(self.size, context.image_size), is_global=True),)


class Policy(Views):
    """Base class of the built-in view policies: crop or warp images, apply effects and normalise.

    Args:
        options: the options of the view policy.
        context: the ``Context`` of the training run, with channels and normalisation of the images.
        groups: the view groups.
        weak_views: number of views without effects at the start of each global group.

    Raises:
        OptionError: an effect needs RGB, but the images do not have three channels.
    """

    options: EffectOptions

    def __init__(
        self, options: EffectOptions, context: Context, groups: tuple[ViewGroup, ...], weak_views: int = 0
    ) -> None:
        super().__init__(options, context)
        options.check_channels(context.channels)
        self.options = options
        self.groups = groups
        self.effects = tuple(Effects(options, group, weak_views if group.is_global else 0) for group in groups)

    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Return random parameters for ``n`` images.

        Each group has the parameters of ``random_geometry`` and ``Effects``, and a tensor ``flip`` ``[n, V]``.
        """
        return tuple(self._draw(n, *pair, generator) for pair in zip(self.groups, self.effects, strict=True))

    def _draw(self, n: int, group: ViewGroup, effects: Effects, generator: torch.Generator) -> dict[str, Tensor]:
        flip = event("flip", (self.options.flip_p,) * group.count)
        drawn = draw_together([*self.random_geometry(group), flip, *effects.random_values], n, generator)
        return effects.combine(drawn | {"flip": drawn["flip"].float()})

    def random_geometry(self, group: ViewGroup) -> list[RandomValues]:
        """Return the random values that ``warp_images`` needs. Empty unless overridden."""
        return []

    @abstractmethod
    def warp_images(self, images: Tensor, group: ViewGroup, parameters: Mapping[str, Tensor]) -> Tensor:
        """Return the group's V views of S x S pixels, without effects, as a tensor ``[V, B, C, S, S]``.

        Args:
            images: float tensor ``[B, C, H, W]`` with values in [0, 1].
            group: the group of views.
            parameters: the drawn random values of the group.
        """

    def apply(self, images: Tensor, parameters: Parameters) -> tuple[Tensor, ...]:
        """Return, for each group, its V normalised views of S x S pixels as a float32 tensor ``[V, B, C, S, S]``.

        Views are computed in float32 even under autocast, without gradients and without a device sync.
        """
        device = images.device.type
        # torch.autocast raises on a device without autocast, even with enabled=False.
        autocast = torch.amp.is_autocast_available(device)
        with torch.no_grad(), torch.autocast(device, enabled=False) if autocast else nullcontext():
            pixels = to_float(images)
            return tuple(
                normalise(apply_effects(self.warp_images(pixels, group, drawn), drawn), self.mean, self.std)
                for group, drawn in zip(self.groups, parameters, strict=True)
            )
