"""Gradients of convolutions' weights on a processor: torch's own, and sslkit's products for results of few places.

    python benchmarks/speed/small_feature_maps.py [--rounds 5] [--batch 512] [--no-record]

First a whole pass of ResNet-18 and AlexNet on small views, forward and backward, as a training takes it, in float32
and in bfloat16.  Then each of their convolutions whose result has at most 64 places, which tells up to how many places
products are the faster way: ``sslkit.device.small_feature_maps.max_positions``.

Writes ``benchmarks/records/small-feature-maps.json``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

import sslkit
from benchmarks.common import command_line, print_table, ratio, take_turns, write_record
from sslkit.device import small_feature_maps as convolution
from sslkit_backbones.alexnet import AlexNet
from sslkit_backbones.resnet import ResNet18

NETWORKS: tuple[tuple[str, Any, str, int], ...] = (
    ("ResNet-18, ImageNet stem, 32 px", ResNet18, "imagenet", 32),
    ("ResNet-18, ImageNet stem, 18 px", ResNet18, "imagenet", 18),
    ("ResNet-18, small stem, 32 px", ResNet18, "small", 32),
    ("AlexNet, small stem, 24 px", AlexNet, "small", 24),
)
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MOST = 64
"""Places of the largest results measured."""

Shape = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Of a convolution: input without images, weights, stride and padding."""


class Shapes(TorchFunctionMode):
    """Notes the convolutions of few places."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[Shape, int] = {}

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if function is torch.conv2d and result[0, 0].numel() <= MOST:
            images, weight, _, stride, padding = args[:5]
            shape = tuple(images.shape[1:]), tuple(weight.shape), tuple(stride), tuple(padding)
            self.found[shape] = result[0, 0].numel()
        return result


def images_of(*shape: int) -> Tensor:
    """Noise, channels last."""
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


def timed(work: Callable[[], Any]) -> float:
    """Seconds it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def weights_alone(shape: Shape, dtype: torch.dtype, batch: int, within: AbstractContextManager[Any]) -> float:
    """Seconds of the backward pass of one convolution, of its weights' gradient alone."""
    image, weight, stride, padding = shape
    trained = images_of(*weight).to(dtype).requires_grad_()
    with within:
        result = torch.conv2d(images_of(batch, *image).to(dtype), trained, None, stride, padding)
    gradient = torch.ones_like(result)
    result.backward(gradient, retain_graph=True)
    return timed(partial(result.backward, gradient))


def network_pass(network: sslkit.Backbone, images: Tensor, half: bool, within: AbstractContextManager[Any]) -> float:
    """Seconds of a pass forward and backward."""

    def both_ways() -> None:
        with within, torch.autocast("cpu", torch.bfloat16, enabled=half):
            features = network(images)
        features.float().mean().backward()

    network.zero_grad()
    return timed(both_ways)


def in_turns(measure: Callable[[AbstractContextManager[Any]], float], rounds: int) -> dict[str, Any]:
    """Both ways' seconds, and how many times as fast products are."""
    ways: dict[str, AbstractContextManager[Any]] = {"torch": nullcontext(), "products": convolution.SmallFeatureMaps()}
    seconds = take_turns({way: partial(measure, within) for way, within in ways.items()}, rounds)
    return {"seconds": seconds, "faster": ratio(seconds["torch"], seconds["products"])}


def main() -> None:
    """Measure, in turns, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--no-record", action="store_true")
    asked = parser.parse_args()
    convolutions: list[dict[str, Any]] = []
    networks: list[dict[str, Any]] = []
    shapes = Shapes()
    for title, kind, stem, size in NETWORKS:
        context = sslkit.Context(3, size, (0.5,) * 3, (0.25,) * 3, asked.batch, 1, 1, view_size=size)
        network = kind(kind.Options(stem=stem), context).to(memory_format=torch.channels_last)
        images = images_of(asked.batch, 3, size, size)
        with shapes, torch.no_grad():
            network(images[:2])
        for precision in PRECISIONS:
            measure = partial(network_pass, network, images, precision == "bfloat16")
            measure(nullcontext())
            networks.append({"network": title, "precision": precision, **in_turns(measure, asked.rounds)})
    with mock.patch.object(convolution, "max_positions", return_value=MOST):
        for shape, places in sorted(shapes.found.items(), key=lambda item: item[1]):
            for precision, dtype in PRECISIONS.items():
                found = in_turns(partial(weights_alone, shape, dtype, asked.batch), asked.rounds)
                convolutions.append({"places": places, "shape": shape, "precision": precision, **found})
    protocol = f"{asked.batch} images, {asked.rounds} rounds, medians"
    print_table(
        f"gradient of the weights: {protocol}",
        ("places", "image, weights, stride, padding", "precision", "times as fast"),
        [(str(c["places"]), str(c["shape"]), c["precision"], f"{c['faster']['median']:.2f}") for c in convolutions],
    )
    print_table(
        f"forward and backward pass: {protocol}",
        ("network", "precision", "times as fast"),
        [(each["network"], each["precision"], f"{each['faster']['median']:.2f}") for each in networks],
    )
    if not asked.no_record:
        record = {"n": asked.rounds, "settings": vars(asked), "networks": networks, "convolutions": convolutions}
        write_record("small-feature-maps", command_line(), record, ("torchvision",))


if __name__ == "__main__":
    main()
