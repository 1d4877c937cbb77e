"""Check that gradients reach every image, and that no autograd graph stays in memory after a step."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sslkit.testing.base import require


class _Token:
    """Object whose lifetime shows whether an autograd graph is still in memory."""


class _Mark(torch.autograd.Function):
    """Identity function whose autograd node keeps a token in memory for as long as the graph exists."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, token: _Token) -> Tensor:
        ctx.token = token
        return tensor.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def _mark(tensor: Tensor, token: _Token) -> Tensor:
    marked: Tensor = _Mark.apply(tensor, token)
    return marked


def require_no_kept_graph(subject: str, step: Callable[[Callable[[Tensor], Tensor], int], Tensor]) -> None:
    """Run three steps and raise ``AssertionError`` if a step's autograd graph is still in memory after the step.

    Args:
        subject: subject of the error message, such as "the loss".
        step: function ``step(mark, number)`` that returns a scalar to differentiate, for step ``number`` (0, 1 or 2).
            ``step`` must pass each of its input tensors through the function ``mark``.
    """
    advice = f"{subject} keeps a tensor with its graph after the step, so memory grows: detach what you keep"
    for number in range(3):
        token = _Token()
        alive = weakref.ref(token)
        try:
            step(partial(_mark, token=token), number).backward()
        except RuntimeError as error:
            # Happens if the backward pass reaches the freed graph of an earlier step.
            raise AssertionError(f"{advice} ({error})" if number else f"{subject} raises: {error}") from error
        del token
        gc.collect()
        require(alive() is None, advice)


def require_every_image(reached: Sequence[bool], message: str) -> None:
    """Raise ``AssertionError`` with ``message`` and the indices of images that no gradient reaches.

    Return without an error if no gradient reaches any image, because another test reports this case.

    Args:
        reached: whether a gradient reaches each image.
        message: start of the error message.
    """
    missing = ", ".join(str(image) for image, has_gradient in enumerate(reached) if not has_gradient)
    require(not any(reached) or not missing, f"{message} {missing}")


def own_gradients(outputs: Tensor, inputs: Tensor) -> list[bool]:
    """Return for each image whether its output has a non-zero gradient with respect to its own input.

    Each output is differentiated separately, because with BatchNorm, an output also depends on the other images.

    Args:
        outputs: tensor ``[B, D]``, one row for each image.
        inputs: tensor ``[B, ...]`` that requires gradients.
    """
    weights = torch.linspace(-1, 2, outputs.shape[1], dtype=outputs.dtype)
    if not outputs.requires_grad:
        return [False] * len(outputs)
    reached = []
    for image, output in enumerate(outputs):
        (gradient,) = torch.autograd.grad((output * weights).sum(), inputs, retain_graph=True, allow_unused=True)
        reached.append(gradient is not None and bool(gradient[image].any()))
    return reached
