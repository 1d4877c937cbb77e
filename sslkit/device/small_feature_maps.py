"""Compute the weight gradients of convolutions with small output maps faster on the CPU.

oneDNN computes the weight gradient image by image and updates every weight for each image. With small output maps,
these updates account for a large part of the backward pass. This module computes the gradient of each kernel position
as one matrix product over all images. The product covers only output pixels for which the kernel position is inside the
image, so that the result is the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Pair = tuple[int, int]


def max_output_pixels(channels: int) -> int:
    """Return the largest output map (in pixels) for which matrix products beat oneDNN, for ``channels`` input channels.

    With few channels, the limit is lower, because copying takes a larger part of the time. The limits were measured
    with AVX-512 by ``benchmarks/speed/small_feature_maps.py``.
    """
    return 16 if channels >= 256 else 9


def small_map_gradients(device: str) -> AbstractContextManager[Any]:
    """Return a context manager in which training on small feature maps is faster on a CPU."""
    return SmallFeatureMaps() if device == "cpu" else nullcontext()


class SmallFeatureMaps(TorchFunctionMode):
    """Context manager in which ``conv2d`` on the CPU computes weight gradients of small output maps faster.

    Outputs do not change. The backward pass may run outside the context. Second derivatives, ``torch.func.vmap`` and
    activation checkpointing work. Forward-mode derivatives do not work.
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
    supported = (input.dim(), groups, _pair(dilation)) == (4, 1, (1, 1)) and not isinstance(padding, str)
    trained = weight.requires_grad and torch.is_grad_enabled()
    if supported and trained and all(tensor.device.type == "cpu" for tensor in tensors):
        strides, paddings = _pair(stride), _pair(padding)
        # Not a loop over both sides, because torch.compile cannot trace a generator argument.
        rows = (input.shape[2] + 2 * paddings[0] - weight.shape[2]) // strides[0] + 1
        columns = (input.shape[3] + 2 * paddings[1] - weight.shape[3]) // strides[1] + 1
        if rows * columns <= max_output_pixels(input.shape[1]):
            no_bias = [None] * (3 - len(tensors))
            result: Tensor = _Convolution.apply(*_autocast(tensors), *no_bias, strides, paddings)
            return result
    return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)


def _autocast(tensors: list[Tensor]) -> list[Tensor]:
    """Cast the arguments as autocast does for ``conv2d``; autocast does not affect custom autograd functions."""
    if not torch.is_autocast_enabled("cpu") or any(tensor.dtype == torch.float64 for tensor in tensors):
        return tensors
    return [tensor.to(torch.get_autocast_dtype("cpu")) for tensor in tensors]


def _pair(value: Any) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


class _Convolution(torch.autograd.Function):
    """``conv2d`` without dilation or groups; its backward pass computes the weight gradient with matrix products."""

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
        needs_input, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        input_gradient = weight_gradient = bias_gradient = None
        if needs_input:
            settings = (None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1, (True, False, False))
            input_gradient, _, _ = torch.ops.aten.convolution_backward(gradient, input, weight, *settings)
        if needs_weight:
            weight_gradient = _weight_gradient(input, gradient, weight.shape, ctx.stride, ctx.padding)
        if needs_bias:
            # A sum, because oneDNN would compute the weight gradient together with the bias gradient.
            bias_gradient = gradient.sum((0, 2, 3))
        return input_gradient, weight_gradient, bias_gradient, None, None


def _weight_gradient(input: Tensor, gradient: Tensor, shape: torch.Size, stride: Pair, padding: Pair) -> Tensor:
    """Return the gradient of a convolution's weights, with channels last in memory.

    Args:
        input: input of the convolution, ``[B, C, H, W]``.
        gradient: gradient of the output with O channels, ``[B, O, rows, columns]``.
        shape: shape of the weights: O, C, and height and width of the kernel.
        stride: stride of rows and of columns.
        padding: padding of rows and of columns.
    """
    out_channels, in_channels, *kernel = shape
    inputs, gradients = input.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
    weight_gradient = gradient.new_zeros(out_channels, *kernel, in_channels)
    rows, columns = (
        _overlaps(*side) for side in zip(kernel, input.shape[2:], gradient.shape[2:], stride, padding, strict=True)
    )
    for row, (input_rows, output_rows) in enumerate(rows):
        for column, (input_columns, output_columns) in enumerate(columns):
            pixels = inputs[:, input_rows, input_columns].flatten(0, 2)
            weight_gradient[:, row, column] = gradients[:, output_rows, output_columns].flatten(0, 2).t() @ pixels
    return weight_gradient.permute(0, 3, 1, 2)


def _overlaps(kernel: int, size: int, outputs: int, stride: int, padding: int) -> list[tuple[slice, slice]]:
    """Return two slices for each kernel position along one axis: input pixels, and the output pixels that read them.

    Args:
        kernel: length of the kernel.
        size: number of input pixels along the axis.
        outputs: number of output pixels along the axis.
        stride: stride of the convolution.
        padding: number of padded pixels on each side.
    """
    overlaps = []
    for position in range(kernel):
        first = max(0, -(-(padding - position) // stride))
        last = min(outputs - 1, (size - 1 + padding - position) // stride)
        start = first * stride + position - padding
        count = max(0, last - first + 1)
        overlaps.append((slice(start, start + count * stride, stride), slice(first, first + count)))
    return overlaps
