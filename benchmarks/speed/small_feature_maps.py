"""Compare torch's and sslkit's weight gradients of convolutions with small output maps on a CPU.

    python benchmarks/speed/small_feature_maps.py [--rounds 5] [--batch 512] [--no-record]

First measures a forward and backward pass of ResNet-18 and AlexNet on small views, in float32 and bfloat16. Then
measures each of their convolutions with at most 64 output pixels. The second measurement shows up to how many output
pixels sslkit's matrix products are faster. This limit is ``sslkit.device.small_feature_maps.max_output_pixels``. Writes
``benchmarks/records/small-feature-maps.json``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

import sslkit
from benchmarks.common import measure_interleaved, option_parser, print_table, ratio, seconds_of, write_record
from sslkit.device import small_feature_maps
from sslkit_backbones.alexnet import AlexNet
from sslkit_backbones.resnet import ResNet18

NETWORKS: tuple[tuple[str, Any, str, int], ...] = (
    ("ResNet-18, ImageNet stem, 32 px", ResNet18, "imagenet", 32),
    ("ResNet-18, ImageNet stem, 18 px", ResNet18, "imagenet", 18),
    ("ResNet-18, small stem, 32 px", ResNet18, "small", 32),
    ("AlexNet, small stem, 24 px", AlexNet, "small", 24),
)
"""Measured networks: title, backbone class, stem, and size of the views in pixels."""

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}

MAX_OUTPUT_PIXELS = 64
"""Maximum number of output pixels of the convolutions that are measured."""

Shape = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Shape of a convolution: image shape, weight shape, stride and padding."""


class ShapeRecorder(TorchFunctionMode):
    """Context manager that records the shapes of convolutions with small output maps."""

    def __init__(self) -> None:
        super().__init__()
        self.output_pixels: dict[Shape, int] = {}

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if function is torch.conv2d and result[0, 0].numel() <= MAX_OUTPUT_PIXELS:
            images, weight, _, stride, padding = args[:5]
            shape = tuple(images.shape[1:]), tuple(weight.shape), tuple(stride), tuple(padding)
            self.output_pixels[shape] = result[0, 0].numel()
        return result


def channels_last_noise(*shape: int) -> Tensor:
    """Return a random tensor in channels-last memory format."""
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


def time_weight_gradient(shape: Shape, dtype: torch.dtype, batch: int, context: AbstractContextManager[Any]) -> float:
    """Return the duration of a convolution's backward pass in seconds, computing only the weight gradient."""
    image, weight_shape, stride, padding = shape
    weight = channels_last_noise(*weight_shape).to(dtype).requires_grad_()
    with context:
        result = torch.conv2d(channels_last_noise(batch, *image).to(dtype), weight, None, stride, padding)
    gradient = torch.ones_like(result)
    result.backward(gradient, retain_graph=True)
    return seconds_of(partial(result.backward, gradient))


def time_network(
    network: sslkit.Backbone, images: Tensor, bfloat16: bool, context: AbstractContextManager[Any]
) -> float:
    """Return the duration of a network's forward and backward pass in seconds."""

    def run() -> None:
        with context, torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            features = network(images)
        features.float().mean().backward()

    network.zero_grad()
    return seconds_of(run)


def compare(measure: Callable[[AbstractContextManager[Any]], float], rounds: int) -> dict[str, Any]:
    """Return the durations with torch's and sslkit's gradients in seconds, and the speed-up by sslkit's gradients."""
    contexts: dict[str, AbstractContextManager[Any]] = {
        "torch": nullcontext(),
        "products": small_feature_maps.SmallFeatureMaps(),
    }
    seconds = measure_interleaved({name: partial(measure, context) for name, context in contexts.items()}, rounds)
    return {"seconds": seconds, "speedup": ratio(seconds["torch"], seconds["products"])}


def main() -> None:
    """Compare all networks and convolutions, print tables and write the record."""
    parser = option_parser(__doc__, rounds=5)
    parser.add_argument("--batch", type=int, default=512)
    options = parser.parse_args()
    convolutions: list[dict[str, Any]] = []
    networks: list[dict[str, Any]] = []
    shapes = ShapeRecorder()
    for title, backbone, stem, size in NETWORKS:
        context = sslkit.Context(3, size, (0.5,) * 3, (0.25,) * 3, options.batch, 1, 1, view_size=size)
        network = backbone(backbone.Options(stem=stem), context).to(memory_format=torch.channels_last)
        images = channels_last_noise(options.batch, 3, size, size)
        with shapes, torch.no_grad():
            network(images[:2])
        for precision in PRECISIONS:
            measure = partial(time_network, network, images, precision == "bfloat16")
            measure(nullcontext())
            networks.append({"network": title, "precision": precision, **compare(measure, options.rounds)})
    with mock.patch.object(small_feature_maps, "max_output_pixels", return_value=MAX_OUTPUT_PIXELS):
        for shape, pixels in sorted(shapes.output_pixels.items(), key=lambda item: item[1]):
            for precision, dtype in PRECISIONS.items():
                result = compare(partial(time_weight_gradient, shape, dtype, options.batch), options.rounds)
                convolutions.append({"output_pixels": pixels, "shape": shape, "precision": precision, **result})
    protocol = f"{options.batch} images, {options.rounds} rounds, medians"
    print_table(
        f"weight gradient: {protocol}",
        ("output pixels", "image, weights, stride, padding", "precision", "× as fast"),
        [
            (str(each["output_pixels"]), str(each["shape"]), each["precision"], f"{each['speedup']['median']:.2f}")
            for each in convolutions
        ],
    )
    print_table(
        f"forward and backward pass: {protocol}",
        ("network", "precision", "× as fast"),
        [(each["network"], each["precision"], f"{each['speedup']['median']:.2f}") for each in networks],
    )
    if not options.no_record:
        record = {"n": options.rounds, "settings": vars(options), "networks": networks, "convolutions": convolutions}
        write_record("small-feature-maps", record, ("torchvision",))


if __name__ == "__main__":
    main()
