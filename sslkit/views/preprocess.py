"""Deterministic preprocessing of images for evaluation and inference."""

from __future__ import annotations

import torch
from torch import Tensor

from sslkit.contracts.preprocessing import Preprocessing
from sslkit.views.policy import normalise, to_float
from sslkit.views.resize import resize_shorter_side


@torch.no_grad()
def preprocess(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Resize images, crop the central square and normalise.

    Args:
        images: ``[B, C, H, W]``, uint8, or float32 in [0, 1]; not modified.
        preprocessing: size and normalisation of the result. If the shorter side differs from ``size``, the image is
            resized, with antialiasing.

    Returns:
        Contiguous float32 tensor ``[B, C, size, size]``.
    """
    size = preprocessing.size
    pixels = to_float(images) if images.dtype == torch.uint8 else images.clone()
    pixels = resize_shorter_side(pixels, size, preprocessing.interpolation)
    # Half a pixel is rounded as in torchvision's CenterCrop.
    top, left = (round((side - size) / 2) for side in pixels.shape[-2:])
    square = pixels[..., top : top + size, left : left + size].contiguous()
    return normalise(square, preprocessing.mean, preprocessing.std)
