"""AlexNet (Krizhevsky, arXiv 1404.5997, "one weird trick") with torchvision's layout."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional

import sslkit
from sslkit_backbones.stem import StemOptions, choose_stem, own_stem

SMALLEST = 63
"""Smallest side, in pixels, that the ImageNet stem and its unpadded pooling can take."""


class AlexNet(sslkit.Backbone):
    """Images of any size and number of channels to features: the pooled last map, flattened.

    The layers, their initialisation and their names are torchvision's, without ``classifier``, whose dropout and 58
    million weights belong to supervised classification.  With the ImageNet stem and three channels, weights pass
    between this and ``torchvision.models.alexnet`` unchanged, and the feature ``[B, 9216]`` (256 x 6 x 6) is what
    torchvision's classifier is given.  Images below 63 pixels are padded to that.

    The small stem keeps the five convolutions and their widths: a 3 x 3 first convolution of stride 2, a 3 x 3 second
    one, and padded pooling; its feature is ``[B, 1024]`` (256 x 2 x 2), the whole last map of a 32-pixel image.

    Feature maps: strides 4, 8, 16, 32 with the ImageNet stem, 2, 4, 8, 16 with the small one.  ImageNet's unpadded
    layers lose the last places of a map; these repeat their neighbours.
    """

    api = 1
    Options = StemOptions

    def __init__(self, options: StemOptions, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.stem = choose_stem(options, context)
        small = self.stem == "small"
        if small:
            first = nn.Conv2d(context.channels, 64, 3, stride=2, padding=1)
            second = nn.Conv2d(64, 192, 3, padding=1)
        else:
            first = nn.Conv2d(context.channels, 64, 11, stride=4, padding=2)
            second = nn.Conv2d(64, 192, 5, padding=2)
        pool = nn.MaxPool2d(3, stride=2, padding=1 if small else 0)
        # The order gives the layers torchvision's names.
        self.features = nn.Sequential(
            *(first, nn.ReLU(inplace=True), pool),
            *(second, nn.ReLU(inplace=True), pool),
            *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), pool),
        )
        places = 2 if small else 6
        self.avgpool = nn.AdaptiveAvgPool2d((places, places))
        self.feature_dim = 256 * places**2
        self.stem_stride = first.stride[0]
        self.smallest = 1 if small else SMALLEST
        self.channels = context.channels
        self.view_size = context.view_size or context.image_size

    def forward(self, images: Tensor) -> Tensor:
        """Features ``[B, D]``: the last map, pooled to 2 x 2 (small stem) or 6 x 6 places and flattened."""
        for _, x in self._stages(images):
            last = x
        features: Tensor = self.avgpool(last)
        return features.flatten(1)

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        """The last map at each stride, by increasing stride, ``H`` and ``W`` rounded up."""
        height, width = images.shape[2:]
        return {
            stride: _resize_edge(map_, -(-height // stride), -(-width // stride))
            for stride, map_ in self._stages(images)
        }

    def counterparts(self) -> dict[str, sslkit.Counterpart | str]:
        """torchvision's AlexNet."""
        reason = own_stem(self.stem, self.channels)
        if not reason and self.view_size < self.smallest:
            reason = f"torchvision's takes images from {self.smallest} pixels on, these have {self.view_size}"
        found = sslkit.Counterpart("torchvision.models.alexnet", self.state_dict(), classifier="classifier")
        return {"torchvision": reason or found, "timm": "timm has no AlexNet"}

    def extra_repr(self) -> str:
        return f'stem="{self.stem}"'

    def _stages(self, images: Tensor) -> Iterator[tuple[int, Tensor]]:
        height, width = images.shape[2:]
        x = functional.pad(images, (0, max(0, self.smallest - width), 0, max(0, self.smallest - height)))
        stride = self.stem_stride
        for start, stop in ((0, 2), (2, 5), (5, 12), (12, 13)):
            x = self.features[start:stop](x)
            yield stride, x
            stride *= 2


def _resize_edge(map_: Tensor, height: int, width: int) -> Tensor:
    """``map_`` with its last rows and columns cut off, or repeated, to the given size."""
    map_ = map_[:, :, :height, :width]
    missing = (0, width - map_.shape[3], 0, height - map_.shape[2])
    return functional.pad(map_, missing, mode="replicate") if any(missing) else map_
