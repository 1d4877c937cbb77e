"""ResNet-18 (He et al., CVPR 2016, arXiv 1512.03385) with torchvision's modules."""

from __future__ import annotations

from collections.abc import Iterator

import torchvision
from torch import Tensor, nn

import sslkit
from sslkit_backbones.stem import StemOptions, choose_stem, stem_mismatch


class ResNet18(sslkit.Backbone):
    """ResNet-18 for images of any size and number of channels; features are ``[B, 512]``.

    Modules, initialisation and parameter names are those of torchvision, without ``fc``. With the ImageNet stem and
    three channels, weights can be exchanged with ``torchvision.models.resnet18``. The first convolution of the small
    stem is 3 x 3 with stride 1, without max-pooling (SimCLR, arXiv 2002.05709, appendix B.9).

    Feature maps have strides 2, 4, 8, 16, 32 with the ImageNet stem, and 1, 2, 4, 8 with the small stem.
    """

    api = 2
    Options = StemOptions

    def __init__(self, options: StemOptions, context: sslkit.Context) -> None:
        super().__init__(options, context)
        model = torchvision.models.resnet18(weights=None)
        self.feature_dim = model.fc.in_features
        self.stem = choose_stem(options, context)
        small = self.stem == "small"
        self.stem_stride = 1 if small else 2
        if small:
            model.conv1 = nn.Conv2d(context.channels, 64, 3, stride=1, padding=1, bias=False)
            model.maxpool = nn.Identity()
        elif context.channels != 3:
            model.conv1 = nn.Conv2d(context.channels, 64, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.conv1, self.bn1, self.relu, self.maxpool = model.conv1, model.bn1, model.relu, model.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = model.layer1, model.layer2, model.layer3, model.layer4
        self.avgpool = model.avgpool

    def forward(self, images: Tensor) -> Tensor:
        """Return features ``[B, 512]``: the mean of the final feature map over spatial positions."""
        for _, x in self._stages(images):
            last = x
        features: Tensor = self.avgpool(last)
        return features.flatten(1)

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        """Return the final feature map ``[B, C_s, ceil(H / s), ceil(W / s)]`` of each stride ``s``."""
        return dict(self._stages(images))

    def blocks(self) -> list[list[nn.Parameter]]:
        """Return the parameters of the stem and the four stages, the blocks for freezing and ``layer_decay``."""
        stem = [*self.conv1.parameters(), *self.bn1.parameters()]
        return [stem, *(list(layer.parameters()) for layer in (self.layer1, self.layer2, self.layer3, self.layer4))]

    def counterparts(self) -> dict[str, sslkit.Counterpart | str]:
        """Return the equivalent torchvision and timm models for export, or the reason why there is none."""
        channels, state = self.conv1.in_channels, self.state_dict()
        model = {"model_name": "resnet18", "num_classes": 0, "in_chans": channels}
        return {
            "torchvision": stem_mismatch(self.stem, channels)
            or sslkit.Counterpart("torchvision.models.resnet18", state, classifier="fc"),
            "timm": stem_mismatch(self.stem, channels, rgb_only=False)
            or sslkit.Counterpart("timm.create_model", state, model),
        }

    def extra_repr(self) -> str:
        return f'stem="{self.stem}"'

    def _stages(self, images: Tensor) -> Iterator[tuple[int, Tensor]]:
        stride = self.stem_stride
        x = self.relu(self.bn1(self.conv1(images)))
        yield stride, x
        x = self.maxpool(x)
        stride *= stride
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            yield stride, x
            stride *= 2
