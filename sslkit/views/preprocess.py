"""Images as evaluation sees them: nothing random."""

from __future__ import annotations

import torch
from torch import Tensor

from sslkit.views.geometry import resize_shorter
from sslkit.views.policy import normalise, scaled


@torch.no_grad()
def prepare(images: Tensor, size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Resize, crop to the central square, and normalise.

    Args:
        images: ``[B, C, H, W]``, uint8, or float32 in 0..1; they are left as they are.
        size: side of the result in pixels; the shorter side is resized to it, antialiased bilinear, where it differs.
        mean: per channel, in 0..1.
        std: per channel, in 0..1.

    Returns:
        float32 ``[B, C, size, size]``, contiguous.
    """
    pixels = resize_shorter(scaled(images) if images.dtype == torch.uint8 else images.clone(), size)
    # Half a pixel is rounded as torchvision's CenterCrop does.
    top, left = (round((side - size) / 2) for side in pixels.shape[-2:])
    return normalise(pixels[..., top : top + size, left : left + size].contiguous(), mean, std)
