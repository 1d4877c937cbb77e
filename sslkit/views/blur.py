"""Gaussian blur with a separate sigma for each image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sslkit.views.resize import apply_separable


def gaussian_blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Return blurred images; outside the border, images are reflected without repeating the edge pixel.

    One matrix for each image combines blur and reflection; the matrix is used for both axes. One batched matrix product
    is faster than a convolution with one group per image. The kernel ends at ``S - 1`` pixels, or where its weights
    fall below 1e-7 of the largest weight (5.7 sigma).

    Args:
        images: float tensor ``[N, C, S, S]``.
        sigma: tensor ``[N]``, in pixels; 0 leaves the image unchanged.
    """
    matrices = _blur_matrices(sigma, images.shape[-1])
    return apply_separable(images, matrices, matrices)


def _blur_matrices(sigma: Tensor, size: int) -> Tensor:
    """Return a blur matrix ``[size, size]`` for each of the N values of ``sigma``, as a tensor ``[N, size, size]``.

    Row i holds the weight of each original pixel in blurred pixel i.
    """
    distance = torch.arange(size, device=sigma.device)
    # A sigma of 1e-3 gives exactly 1 at distance 0 and exactly 0 elsewhere.
    ratio = distance / sigma.clamp(min=1e-3).unsqueeze(-1)
    # No denormal weights, because they make the matrix product many times slower.
    taps = F.threshold(ratio.square().mul_(-0.5).exp_(), 1e-7, 0.0)
    taps /= 2 * taps.sum(-1, keepdim=True) - taps[:, :1]
    taps = torch.cat([taps, torch.zeros_like(taps[:, :1])], -1)
    target, source = distance[:, None], distance[None, :]
    outside = torch.full_like(target, size)
    before = torch.where(source > 0, target + source, outside)
    after = torch.where(source < size - 1, 2 * (size - 1) - target - source, outside)
    tables = (table.clamp(max=size).flatten() for table in ((target - source).abs(), before, after))
    first, second, third = (taps.index_select(1, table) for table in tables)
    return first.add_(second).add_(third).view(-1, size, size)
