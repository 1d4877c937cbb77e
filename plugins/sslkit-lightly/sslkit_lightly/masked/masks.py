"""Random masks of patches, drawn on the CPU with a given generator.

lightly's functions draw from the global generators of Python and torch, so masks would differ between processes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

ATTEMPTS = 30
"""Number of random blocks that may be added to each mask."""

ASPECTS = (0.3, 1 / 0.3)
"""Smallest and largest ratio of height to width of a block, as in DINOv2."""

MIN_AREA = 4.0
"""Smallest area of a block in patches, as in DINOv2."""


def split_patches(images: int, patches: int, ratio: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Divide the patches of each image randomly into visible and masked patches.

    The number of visible patches is ``patches * (1 - ratio)``, rounded down, as in lightly's ``random_token_mask``.

    Returns:
        int64 indices of the visible patches ``[images, K]`` and of the masked patches ``[images, patches - K]``.
    """
    order = torch.rand(images, patches, generator=generator).argsort(1)
    keep = int(patches * (1 - ratio))
    return order[:, :keep], order[:, keep:]


def block_masks(counts: Tensor, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Return masks that are unions of random blocks, as in iBOT and DINOv2.

    Args:
        counts: int64 tensor ``[N]``, largest number of masked patches of each image. Fewer patches are masked if
            no more random blocks fit.
        height: number of rows of patches.
        width: number of columns of patches.
        generator: random generator on the CPU.

    Returns:
        bool tensor ``[N, height, width]``; True for masked patches.
    """
    size = len(counts)
    mask = torch.zeros(size, height, width, dtype=torch.bool)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    low, high = map(math.log, ASPECTS)
    for _ in range(ATTEMPTS):
        left = (counts - mask.sum((1, 2))).double()
        area, aspect, top, start = torch.rand(4, size, 1, 1, generator=generator, dtype=torch.float64)
        smallest = left.clamp(max=MIN_AREA)[:, None, None]
        area = smallest + area * (left[:, None, None] - smallest)
        aspect = (low + aspect * (high - low)).exp()
        tall = (area * aspect).sqrt().round().clamp(1, height)
        wide = (area / aspect).sqrt().round().clamp(1, width)
        top = (top * (height - tall + 1)).floor()
        start = (start * (width - wide + 1)).floor()
        block = (rows >= top) & (rows < top + tall) & (columns >= start) & (columns < start + wide)
        grown = mask | block
        mask = torch.where((grown.sum((1, 2)) <= counts)[:, None, None], grown, mask)
    return mask


def masked_first(mask: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return the masked patches of each image in a tensor of fixed shape.

    Args:
        mask: bool tensor ``[N, P]``, True for the masked ones of the P patches of N images; at most ``most`` per image.
        most: number of columns of the result.

    Returns:
        int64 indices of patches ``[N, most]``, masked patches first; and their weights ``[N, most]``: 1 divided by the
        number of masked patches of the image, or 0 for patches that are not masked.
    """
    index = mask.int().argsort(dim=1, descending=True, stable=True)[:, :most]
    chosen = mask.gather(1, index).float()
    return index, chosen / mask.sum(1, keepdim=True).clamp(min=1)


def target_blocks(
    images: int, blocks: int, side: tuple[int, int], grid: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """Return the patches of random blocks of equal size, which may overlap.

    Args:
        images: number of images.
        blocks: number of blocks of each image.
        side: height and width of a block in patches.
        grid: height and width of an image in patches.
        generator: random generator on the CPU.

    Returns:
        int64 tensor ``[images, blocks, side[0] * side[1]]``, indices of patches.
    """
    (tall, wide), (height, width) = side, grid
    top = torch.randint(height - tall + 1, (images, blocks, 1, 1), generator=generator)
    left = torch.randint(width - wide + 1, (images, blocks, 1, 1), generator=generator)
    patches = (top + torch.arange(tall)[:, None]) * width + left + torch.arange(wide)
    return patches.flatten(2)


def context_patches(targets: Tensor, patches: int, count: int, generator: torch.Generator) -> Tensor:
    """Return ``count`` random patches of each image that are in none of its target blocks, int64 ``[N, count]``.

    Args:
        targets: int64 tensor ``[N, blocks, T]``, indices of patches; must leave at least ``count`` other patches.
        patches: number of patches of an image.
        count: number of patches to return for each image.
        generator: random generator on the CPU.
    """
    noise = torch.rand(len(targets), patches, generator=generator)
    noise.scatter_(1, targets.flatten(1), 2.0)
    return noise.argsort(1)[:, :count].sort(1)[0]
