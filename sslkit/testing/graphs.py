"""Autograd graphs in the tests: gradients of single images, and graphs that outlive a step."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sslkit.testing.base import require


class _Token:
    """Object that lives as long as a graph that refers to it."""


class _Mark(torch.autograd.Function):
    """Copy of a tensor whose graph node keeps a token alive."""

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
    """Take steps and raise ``AssertionError`` if the graph of one is still alive after it.

    Args:
        subject: what is tested, such as "the loss", for the message.
        step: function that receives a function to mark its input tensors with, and the number of the step. It returns
            the scalar to differentiate.
    """
    advice = f"{subject} keeps a tensor with its graph after the step, so memory grows: detach what you keep"
    for number in range(3):
        token = _Token()
        alive = weakref.ref(token)
        try:
            step(partial(_mark, token=token), number).backward()
        except RuntimeError as error:
            # Backward through the freed graph of an earlier step.
            raise AssertionError(f"{advice} ({error})" if number else f"{subject} raises: {error}") from error
        del token
        gc.collect()
        require(alive() is None, advice)


def own_gradients(outputs: Tensor, inputs: Tensor) -> list[bool]:
    """Return for each image whether a gradient of its own output ``[D]`` reaches its input.

    Batch normalisation also passes gradients of the other images' outputs on.
    """
    weights = torch.linspace(-1, 2, outputs.shape[1], dtype=outputs.dtype)
    if not outputs.requires_grad:
        return [False] * len(outputs)
    reached = []
    for image, output in enumerate(outputs):
        (gradient,) = torch.autograd.grad((output * weights).sum(), inputs, retain_graph=True, allow_unused=True)
        reached.append(gradient is not None and bool(gradient[image].any()))
    return reached
