"""What the built-in view policies have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import nullcontext

import torch
from torch import Tensor

from sslkit.contracts.views import Parameters, ViewGroup, Views
from sslkit.views.effects import apply_effects


def scaled(images: Tensor) -> Tensor:
    """float32 0..1 of uint8 images."""
    return images.to(torch.float32).div_(255)


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """``(images - mean) / std`` of float ``[..., C, H, W]``, in place."""
    # This copy does not wait for the device; filling a cache for each device would have to.
    constants = torch.tensor([mean, std], dtype=torch.float32).to(images.device, non_blocking=True)
    shift, scale = constants[..., None, None]
    return images.sub_(shift).div_(scale)


class Policy(Views):
    """Places views by geometry, then applies the effects and normalises."""

    @abstractmethod
    def place(self, images: Tensor, group: ViewGroup, parameters: Mapping[str, Tensor]) -> Tensor:
        """Views ``[V, B, C, S, S]`` of float images ``[B, C, H, W]`` in 0..1, before any effect."""

    def apply(self, images: Tensor, parameters: Parameters) -> tuple[Tensor, ...]:
        """Views of uint8 images ``[B, C, H, W]``: for each group float32 ``[V, B, C, S, S]``, normalised.

        Computes in float32 whatever autocast is, needs no gradient, and never waits for the device.
        """
        device = images.device.type
        # Asking for autocast on a device that has none is an error, even to switch it off.
        autocast = torch.amp.is_autocast_available(device)
        with torch.no_grad(), torch.autocast(device, enabled=False) if autocast else nullcontext():
            pixels = scaled(images)
            return tuple(
                normalise(apply_effects(self.place(pixels, group, drawn), drawn), self.mean, self.std)
                for group, drawn in zip(self.groups, parameters, strict=True)
            )
