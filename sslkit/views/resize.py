"""Random resized crops: resize a box of the image to a square view with two matrix products.

Resizing is a linear map along each axis. A view is therefore ``rows @ image @ columns^T``, with one matrix of filter
weights for each axis. The two products crop, flip, resize and antialias, and are faster than a bilinear grid sampler.

Pixel ``i`` covers ``[i, i + 1)``, with its centre at ``i + 0.5`` (``align_corners=False``). Pixels outside the box are
not read; the weights of the remaining pixels are normalised to sum to 1. The filter is widened if the box is shrunk, as
in Pillow and in torchvision's ``resized_crop(antialias=True)``.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from sslkit.contracts.preprocessing import Interpolation
from sslkit.views.constants import constant


def crop_boxes(
    area: Tensor, log_ratio: Tensor, position: Tensor, height: int, width: int, ratio: tuple[float, float]
) -> Tensor:
    """Return crop boxes with integer coordinates, like torchvision's ``RandomResizedCrop``.

    Args:
        area: tensor ``[..., T]``, area of each of T candidate boxes as a fraction of the image's area, in [0, 1].
        log_ratio: tensor ``[..., T]``, logarithm of width / height of each candidate box.
        position: tensor ``[..., 2]``, distance of the box from the top and the left edge of the image, divided by the
            largest distance at which the box fits, in [0, 1).
        height: height of the image in pixels.
        width: width of the image in pixels.
        ratio: smallest and largest width / height of the central box that is used if no candidate fits.

    Returns:
        Tensor ``[..., 4]``: top, left, height and width of the first candidate that fits into the image, else of the
        central box.
    """
    side = (area * (height * width)).sqrt()
    stretch = (log_ratio / 2).exp()
    sides = torch.stack([side / stretch, side * stretch], -1).round()
    largest = constant((float(height), float(width)), area.device)
    fits = ((sides >= 1) & (sides <= largest)).all(-1)
    first = fits.int().argmax(-1)[..., None, None].expand(*fits.shape[:-1], 1, 2)
    chosen = sides.gather(-2, first).squeeze(-2)
    room = constant((height + 1.0, width + 1.0), area.device) - chosen
    box = torch.cat([(position * room).floor(), chosen], -1)
    fallback = constant(_central_box(height, width, ratio), area.device)
    return torch.where(fits.any(-1, keepdim=True), box, fallback)


def _central_box(height: int, width: int, ratio: tuple[float, float]) -> tuple[float, float, float, float]:
    low, high = ratio
    tall, wide = height, width
    if width / height < low:
        tall = max(1, round(width / low))
    elif width / height > high:
        wide = max(1, round(height * high))
    return float((height - tall) // 2), float((width - wide) // 2), float(tall), float(wide)


def central_square(reference: Tensor, height: int, width: int) -> Tensor:
    """Return the box of an image's largest central square, repeated for each element of ``reference`` ``[...]``.

    Returns:
        Tensor ``[..., 4]``: top, left, height and width in pixels.
    """
    side = min(height, width)
    box = ((height - side) // 2, (width - side) // 2, side, side)
    return torch.stack([torch.full_like(reference, value) for value in box], -1)


def resized_crop(
    images: Tensor, boxes: Tensor, flip: Tensor, size: int, interpolation: Interpolation = "bilinear"
) -> Tensor:
    """Crop, flip and resize float images ``[B, C, H, W]`` to views ``[V, B, C, size, size]``.

    Args:
        images: images with any range of values; bicubic results may exceed this range.
        boxes: tensor ``[B, V, 4]``: top, left, height and width in pixels, inside the image.
        flip: tensor ``[B, V]``: 1 for a horizontal flip, else 0.
        size: side of the views in pixels.
        interpolation: ``bilinear`` or ``bicubic`` (a = -0.5).
    """
    height, width = images.shape[-2:]
    by_view = boxes.transpose(0, 1)
    start, length = (by_view[..., axes].movedim(-1, 0) for axes in (slice(0, 2), slice(2, 4)))
    mirror = torch.stack([torch.zeros_like(flip.T), flip.T])
    if height == width:  # both axes together
        rows, columns = resize_weights(start, length, mirror, height, size, interpolation)
    else:
        rows = resize_weights(start[0], length[0], mirror[0], height, size, interpolation)
        columns = resize_weights(start[1], length[1], mirror[1], width, size, interpolation)
    # A separate product for each view, because a batched product over views would copy the images.
    return torch.stack([apply_separable(images, *weights) for weights in zip(rows, columns, strict=True)])


def resize_weights(
    start: Tensor, length: Tensor, mirror: Tensor, source: int, target: int, interpolation: Interpolation
) -> Tensor:
    """Return a weight tensor ``[..., target, source]`` that resizes one axis to ``target`` pixels.

    Args:
        start: tensor ``[...]``, start of the crop box along the axis, in pixels of the image.
        length: tensor ``[...]``, length of the crop box, in pixels of the image.
        mirror: tensor ``[...]``, 1 to mirror the axis, else 0.
        source: number of pixels of the image.
        target: number of pixels of the view.
        interpolation: ``bilinear`` or ``bicubic``.
    """
    centres = _pixel_centres(target)
    position = torch.where(
        mirror[..., None] > 0, constant(centres[::-1], start.device), constant(centres, start.device)
    )
    pixel = constant(_pixel_centres(source), start.device)
    start, length = start[..., None], length[..., None]
    scale = length / target
    sharpness = scale.clamp(min=1).reciprocal()
    centre = (start + position * scale) * sharpness
    distance = (pixel * sharpness)[..., None, :].sub(centre[..., None]).abs_()
    weights = torch.rsub(distance, 1).clamp_(min=0) if interpolation == "bilinear" else _cubic(distance)
    weights *= ((pixel > start) & (pixel < start + length))[..., None, :]
    return weights.div_(weights.sum(-1, keepdim=True))


@lru_cache(maxsize=64)
def _pixel_centres(count: int) -> tuple[float, ...]:
    return tuple(pixel + 0.5 for pixel in range(count))


def _cubic(distance: Tensor) -> Tensor:
    """Return Keys' cubic kernel (a = -0.5), as the sum of a polynomial on [0, 2] and one on [0, 1]."""
    outer = distance.clamp(max=2)
    inner = distance.clamp_(max=1)
    return (outer - 2).square_().mul_(outer - 1).mul_(-0.5) + (inner - 1).square_().mul_(2 * inner - 1)


def apply_separable(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Resize both axes of each image by weight matrices: return ``rows @ image @ columns^T`` for each channel.

    Args:
        images: tensor ``[N, C, H, W]``.
        rows: tensor ``[N, S, H]``.
        columns: tensor ``[N, S, W]``.

    Returns:
        Tensor ``[N, C, S, S]``.
    """
    n, channels, height, _ = images.shape
    wide = torch.bmm(images.flatten(1, 2), columns.transpose(1, 2)).view(n, channels, height, -1)
    return rows.unsqueeze(1) @ wide


def resize_shorter_side(images: Tensor, size: int, interpolation: Interpolation = "bilinear") -> Tensor:
    """Resize float images ``[B, C, H, W]`` to a shorter side of ``size`` pixels, antialiased.

    Bicubic interpolation may overshoot, so bicubic results are clipped to [0, 1].
    """
    height, width = images.shape[-2:]
    shorter = min(height, width)
    if shorter == size:
        return images
    target = [size * height // shorter, size * width // shorter]
    resized = F.interpolate(images, size=target, mode=interpolation, antialias=True)
    return resized if interpolation == "bilinear" else resized.clamp_(0, 1)
