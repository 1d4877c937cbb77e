"""A small convolutional network for tiny images."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field
from torch import Tensor, nn

import sslkit

LAYERS = ((1, 1), (1, 2), (2, 1), (2, 2), (4, 1))
"""Channels (as a multiple of ``width``) and stride of each layer."""


class ConvNet(sslkit.Backbone):
    """Small network for training on a CPU with images of 8 to 32 pixels; features are ``[B, 4 * width]``.

    The network has five layers of 3 x 3 convolution, BatchNorm and ReLU. The second and fourth layers halve the
    resolution. The feature is the maximum of the final feature map over spatial positions. Larger images work, but the
    receptive field is small.

    Feature maps have strides 1, 2 and 4.
    """

    api = 2

    class Options(sslkit.Options):
        width: int = Field(32, ge=1, le=4096)
        """Number of channels of the first layer; the final layer has four times as many."""

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
        """Return features ``[B, 4 * width]``."""
        maps: Tensor = self.layers(images)
        # The maximum keeps small details, such as a hole in a digit; the mean would weaken them.
        return maps.amax((2, 3))

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        """Return the final feature map ``[B, C_s, ceil(H / s), ceil(W / s)]`` of each stride ``s``."""
        return dict(self._stages(images))

    def blocks(self) -> list[list[nn.Parameter]]:
        """Return the parameters of the five layers, which are the blocks for freezing and ``layer_decay``."""
        return [list(layer.parameters()) for layer in self.layers]

    def _stages(self, images: Tensor) -> Iterator[tuple[int, Tensor]]:
        x, total = images, 1
        for layer, (_, stride) in zip(self.layers, LAYERS, strict=True):
            x, total = layer(x), total * stride
            yield total, x
