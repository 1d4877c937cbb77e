"""AlexNet (Krizhevsky, arXiv 1404.5997) with torchvision's layer sizes and parameter names."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional

import sslkit
from sslkit_backbones.stem import StemOptions, choose_stem, stem_mismatch

MIN_SIZE = 63
"""Smallest image side in pixels that the ImageNet stem can process, because its pooling is unpadded."""


class AlexNetOptions(StemOptions):
    """Options of AlexNet."""

    batch_norm: bool = False
    """Batch normalisation after each convolution, as in DeepCluster (arXiv 1807.05520) and SeLa (arXiv 1911.05371)."""


class AlexNet(sslkit.Backbone):
    """AlexNet for images of any size and number of channels; the feature is the pooled and flattened final map.

    Without batch normalisation, layers, initialisation and parameter names are those of torchvision. The sub-module
    ``classifier`` (58 million weights) is left out. With the ImageNet stem, three channels and no batch normalisation,
    weights can be exchanged with ``torchvision.models.alexnet``. With the ImageNet stem, the feature is
    ``[B, 9216]`` (256 x 6 x 6), the input of torchvision's ``classifier``, and images smaller than 63 pixels are padded
    to 63 pixels.

    The small stem has the same five convolutions with the same number of channels. The first convolution is 3 x 3 with
    stride 2, the second is 3 x 3, and pooling is padded. The feature is ``[B, 1024]`` (256 x 2 x 2), the complete final
    feature map of a 32-pixel image.

    Feature maps have strides 4, 8, 16, 32 with the ImageNet stem, and 2, 4, 8, 16 with the small stem. Unpadded layers
    of the ImageNet stem do not cover the bottom rows and right columns of an image; there, ``feature_maps`` repeats the
    nearest computed row and column.
    """

    api = 2
    Options = AlexNetOptions

    def __init__(self, options: AlexNetOptions, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.stem = choose_stem(options, context)
        small = self.stem == "small"
        first, second = ((3, 2, 1), (3, 1, 1)) if small else ((11, 4, 2), (5, 1, 2))
        pool = nn.MaxPool2d(3, stride=2, padding=1 if small else 0)

        def convolve(inputs: int, outputs: int, size: int, stride: int = 1, padding: int = 1) -> list[nn.Module]:
            convolution = nn.Conv2d(inputs, outputs, size, stride, padding, bias=not options.batch_norm)
            norm = [nn.BatchNorm2d(outputs)] if options.batch_norm else []
            return [convolution, *norm, nn.ReLU(inplace=True)]

        stages = (
            convolve(context.channels, 64, *first),
            [pool, *convolve(64, 192, *second)],
            [pool, *convolve(192, 384, 3), *convolve(384, 256, 3), *convolve(256, 256, 3)],
            [pool],
        )
        # The order of the layers determines their names, which equal torchvision's without batch normalisation.
        self.features = nn.Sequential(*itertools.chain.from_iterable(stages))
        self.stage_lengths = [len(stage) for stage in stages]
        side = 2 if small else 6
        self.avgpool = nn.AdaptiveAvgPool2d((side, side))
        self.feature_dim = 256 * side**2
        self.stem_stride = first[1]
        self.min_size = 1 if small else MIN_SIZE
        self.batch_norm = options.batch_norm
        self.channels = context.channels
        self.view_size = context.view_size or context.image_size

    def forward(self, images: Tensor) -> Tensor:
        """Return features ``[B, D]``: the flattened final feature map, pooled to 6 x 6 (small stem: 2 x 2)."""
        for _, x in self._stages(images):
            last = x
        features: Tensor = self.avgpool(last)
        return features.flatten(1)

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        """Return the final feature map ``[B, C_s, ceil(H / s), ceil(W / s)]`` of each stride ``s``."""
        height, width = images.shape[2:]
        return {
            stride: _resize_edge(map_, -(-height // stride), -(-width // stride))
            for stride, map_ in self._stages(images)
        }

    def blocks(self) -> list[list[nn.Parameter]]:
        """Return the parameters of the blocks for freezing and ``layer_decay``: each convolution with its BatchNorm."""
        blocks: list[list[nn.Parameter]] = []
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                blocks.append([])
            blocks[-1] += layer.parameters()
        return blocks

    def counterparts(self) -> dict[str, sslkit.Counterpart | str]:
        """Return the equivalent torchvision model for export, or the reason why there is none; timm has no AlexNet."""
        reason = stem_mismatch(self.stem, self.channels)
        if self.batch_norm:
            reason = "torchvision's AlexNet has no batch normalisation"
        if not reason and self.view_size < self.min_size:
            reason = f"torchvision's AlexNet needs images of at least {self.min_size} pixels, not {self.view_size}"
        alexnet = sslkit.Counterpart("torchvision.models.alexnet", self.state_dict(), classifier="classifier")
        return {"torchvision": reason or alexnet, "timm": "timm has no AlexNet"}

    def extra_repr(self) -> str:
        return f'stem="{self.stem}", batch_norm={self.batch_norm}'

    def _stages(self, images: Tensor) -> Iterator[tuple[int, Tensor]]:
        height, width = images.shape[2:]
        x = functional.pad(images, (0, max(0, self.min_size - width), 0, max(0, self.min_size - height)))
        stride = self.stem_stride
        start = 0
        for length in self.stage_lengths:
            x = self.features[start : start + length](x)
            yield stride, x
            start += length
            stride *= 2


def _resize_edge(map_: Tensor, height: int, width: int) -> Tensor:
    """Crop a feature map to ``height`` x ``width``, or pad it by repeating its last row and column."""
    map_ = map_[:, :, :height, :width]
    missing = (0, width - map_.shape[3], 0, height - map_.shape[2])
    return functional.pad(map_, missing, mode="replicate") if any(missing) else map_
