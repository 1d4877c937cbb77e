"""A small convolutional network for tiny images."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field
from torch import Tensor, nn

import sslkit

LAYERS = ((1, 1), (1, 2), (2, 1), (2, 2), (4, 1))
"""Channels, in widths, and stride of each layer."""


class ConvNet(sslkit.Backbone):
    """Images of 8 to 32 pixels to features ``[B, 4 * width]``, in seconds on a processor.

    Five layers, each a 3 x 3 convolution, BatchNorm and ReLU; the second and the fourth halve the resolution; the
    feature is the last map's maximum over places.  Larger images work, and see little of their context.

    Feature maps: strides 1, 2 and 4.
    """

    api = 1

    class Options(sslkit.Options):
        width: int = Field(32, ge=1, le=4096)
        """Channels of the first layer; the last has four times as many."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.layers = nn.Sequential()
        channels = context.channels
        for widths, stride in LAYERS:
            out = widths * options.width
            convolution = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
            self.layers.append(nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True)))
            channels = out
        self.feature_dim = channels

    def forward(self, images: Tensor) -> Tensor:
        """Features ``[B, 4 * width]``."""
        maps: Tensor = self.layers(images)
        # What a digit has, a hole or a stroke, it has somewhere: the mean dilutes it.
        return maps.amax((2, 3))

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        """The last map at each stride, by increasing stride, ``H`` and ``W`` rounded up."""
        return dict(self._stages(images))

    def _stages(self, images: Tensor) -> Iterator[tuple[int, Tensor]]:
        x, total = images, 1
        for layer, (_, stride) in zip(self.layers, LAYERS, strict=True):
            x, total = layer(x), total * stride
            yield total, x
