"""Deterministic preprocessing of images for evaluation and inference."""

from __future__ import annotations

import torch
from torch import Tensor

from sslkit.views.policy import normalise, to_float
from sslkit.views.resize import resize_shorter_side


@torch.no_grad()
def preprocess(images: Tensor, size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Resize images, crop the central square and normalise.

    Args:
        images: ``[B, C, H, W]``, uint8, or float32 in [0, 1]; they are not modified.
        size: side of the result in pixels; a shorter side of another length is resized to it, antialiased bilinear.
        mean: per channel, in [0, 1].
        std: per channel, in [0, 1].

    Returns:
        float32 ``[B, C, size, size]``, contiguous.
    """
    pixels = resize_shorter_side(to_float(images) if images.dtype == torch.uint8 else images.clone(), size)
    # Half a pixel is rounded as in torchvision's CenterCrop.
    top, left = (round((side - size) / 2) for side in pixels.shape[-2:])
    return normalise(pixels[..., top : top + size, left : left + size].contiguous(), mean, std)
