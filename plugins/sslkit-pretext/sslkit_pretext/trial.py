"""Check before training that a backbone can process images of a given size."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

import sslkit

Result = TypeVar("Result")


@torch.no_grad()
def try_backbone(
    name: str, backbone: sslkit.Backbone, run: Callable[[Tensor], Result], channels: int, side: int
) -> Result:
    """Check that a backbone can process images of the given size; return the result of ``run`` for a black image.

    The backbone is in eval mode during the call.

    Args:
        name: name of the method, for messages.
        backbone: the backbone.
        run: a method of the backbone.
        channels: number of channels of the image.
        side: side of the image in pixels.

    Raises:
        sslkit.InputError: the backbone cannot process an image of this size.
    """
    training = backbone.training
    backbone.eval()
    try:
        return run(torch.zeros(1, channels, side, side))
    except (RuntimeError, AssertionError, ValueError) as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise sslkit.InputError(
            f"the method {name!r} needs a backbone for images of {side} x {side} pixels, such as a convolutional "
            f"network, but this backbone raises: {cause}"
        ) from error
    finally:
        backbone.train(training)
