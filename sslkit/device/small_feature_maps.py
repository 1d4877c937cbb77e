"""Convolutions whose result has few places, with a faster gradient of their weights on processors.

oneDNN sums that gradient image by image and touches every weight for each, which takes much of a backward pass where
maps have few places.  One matrix product for each position of the kernel, over all images at once and over those places
alone where the position lies in the image, gives the same sums.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Pair = tuple[int, int]


def max_positions(channels: int) -> int:
    """Places of the result up to which products are the faster way, by channels of what is convolved.

    With fewer channels copying takes more of their time.  Measured with AVX-512 (``benchmarks/convolution.py``).
    """
    return 16 if channels >= 256 else 9


def small_map_gradients(device: str) -> AbstractContextManager[Any]:
    """Where forward passes of a training on ``device`` belong: ``SmallFeatureMaps`` on ``cpu``, elsewhere nothing."""
    return SmallFeatureMaps() if device == "cpu" else nullcontext()


class SmallFeatureMaps(TorchFunctionMode):
    """Within it, ``conv2d`` on a processor and with few places has the faster gradient; results are the same.

    Backward passes may be outside.  Second derivatives, ``torch.func.vmap`` and checkpointed activations work as ever;
    forward-mode derivatives do not.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function is torch.conv2d:
            return _conv2d(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair | str = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Tensor:
    tensors = [input, weight] if bias is None else [input, weight, bias]
    usual = (input.dim(), groups, _pair(dilation)) == (4, 1, (1, 1)) and not isinstance(padding, str)
    trained = weight.requires_grad and torch.is_grad_enabled()
    if usual and trained and all(each.device.type == "cpu" for each in tensors):
        steps, edges = _pair(stride), _pair(padding)
        # Spelt out: torch.compile follows no generator into a call.
        rows = (input.shape[2] + 2 * edges[0] - weight.shape[2]) // steps[0] + 1
        columns = (input.shape[3] + 2 * edges[1] - weight.shape[3]) // steps[1] + 1
        if rows * columns <= max_positions(input.shape[1]):
            absent = [None] * (3 - len(tensors))
            result: Tensor = _Convolution.apply(*_as_autocast(tensors), *absent, steps, edges)
            return result
    return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)


def _as_autocast(tensors: list[Tensor]) -> list[Tensor]:
    """What autocast, which does not see inside an autograd function, gives ``conv2d``."""
    if not torch.is_autocast_enabled("cpu") or any(each.dtype == torch.float64 for each in tensors):
        return tensors
    return [each.to(torch.get_autocast_dtype("cpu")) for each in tensors]


def _pair(value: Any) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


class _Convolution(torch.autograd.Function):
    """``conv2d`` without dilation or groups."""

    generate_vmap_rule = True

    @staticmethod
    def forward(input: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair) -> Tensor:
        return torch.conv2d(input, weight, bias, stride, padding)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        input, weight, _, ctx.stride, ctx.padding = inputs
        ctx.save_for_backward(input, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        input, weight = ctx.saved_tensors
        of_input, of_weight, of_bias = ctx.needs_input_grad[:3]
        images = weights = bias = None
        if of_input:
            settings = (None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1, (True, False, False))
            images, _, _ = torch.ops.aten.convolution_backward(gradient, input, weight, *settings)
        if of_weight:
            weights = _weight_gradient(input, gradient, weight.shape, ctx.stride, ctx.padding)
        if of_bias:
            # Asked for it, oneDNN computes the weights' gradient too.
            bias = gradient.sum((0, 2, 3))
        return images, weights, bias, None, None


def _weight_gradient(input: Tensor, gradient: Tensor, shape: torch.Size, stride: Pair, padding: Pair) -> Tensor:
    """Gradient of weights of ``shape`` ``[O, C, K, L]``, with channels last in memory."""
    outputs, channels, *kernel = shape
    images, gradients = input.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
    found = gradient.new_zeros(outputs, *kernel, channels)
    rows, columns = (
        _overlaps(*side) for side in zip(kernel, input.shape[2:], gradient.shape[2:], stride, padding, strict=True)
    )
    for row, (above, below) in enumerate(rows):
        for column, (left, right) in enumerate(columns):
            seen = images[:, above, left].flatten(0, 2)
            found[:, row, column] = gradients[:, below, right].flatten(0, 2).t() @ seen
    return found.permute(0, 3, 1, 2)


def _overlaps(kernel: int, size: int, results: int, step: int, edge: int) -> list[tuple[slice, slice]]:
    """By position in the kernel, along one side: the places it sees of the image, and the results it sees them for."""
    found = []
    for position in range(kernel):
        first = max(0, -(-(edge - position) // step))
        last = min(results - 1, (size - 1 + edge - position) // step)
        start = first * step + position - edge
        count = max(0, last - first + 1)
        found.append((slice(start, start + count * step, step), slice(first, first + count)))
    return found
