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
        images: tensor ``[B, C, H, W]``, uint8, or float32 in [0, 1]; not modified.
        size: side of the result in pixels. The shorter side of the images is resized to ``size`` (bilinear,
            antialiased).
        mean: mean of each channel, in [0, 1].
        std: standard deviation of each channel, in [0, 1].

    Returns:
        Contiguous float32 tensor ``[B, C, size, size]``.
    """
    pixels = resize_shorter_side(to_float(images) if images.dtype == torch.uint8 else images.clone(), size)
    # Half pixels are rounded as in torchvision's CenterCrop.
    top, left = (round((side - size) / 2) for side in pixels.shape[-2:])
    return normalise(pixels[..., top : top + size, left : left + size].contiguous(), mean, std)
