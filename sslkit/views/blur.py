"""Gaussian blur with a sigma of its own for every image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sslkit.views.geometry import separable


def gaussian_blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur every image; borders are reflected without repeating the edge.

    The blur, reflection and all, is one matrix for both axes of an image, so that the work is a batched matrix product
    instead of a convolution with as many groups as images.  The kernel reaches as far as its weights are above 1e-7 of
    the largest (5.7 sigma), and at most ``S - 1`` pixels.

    Args:
        images: float ``[N, C, S, S]``.
        sigma: ``[N]`` in pixels; 0 leaves the image as it is.
    """
    matrices = _blur_matrices(sigma, images.shape[-1])
    return separable(images, matrices, matrices)


def _blur_matrices(sigma: Tensor, size: int) -> Tensor:
    """``[N, S, S]``: the weight of each pixel (last axis) in each blurred pixel."""
    distance = torch.arange(size, device=sigma.device)
    # A sigma this small gives exactly 1 at distance 0 and exactly 0 elsewhere.
    scaled = distance / sigma.clamp(min=1e-3).unsqueeze(-1)
    # Denormal weights would make the matrix product many times slower.
    taps = F.threshold(scaled.square().mul_(-0.5).exp_(), 1e-7, 0.0)
    taps /= 2 * taps.sum(-1, keepdim=True) - taps[:, :1]
    taps = torch.cat([taps, torch.zeros_like(taps[:, :1])], -1)
    here, there = distance[:, None], distance[None, :]
    beyond = torch.full_like(here, size)
    before = torch.where(there > 0, here + there, beyond)
    after = torch.where(there < size - 1, 2 * (size - 1) - here - there, beyond)
    tables = (table.clamp(max=size).flatten() for table in ((here - there).abs(), before, after))
    first, second, third = (taps.index_select(1, table) for table in tables)
    return first.add_(second).add_(third).view(-1, size, size)
