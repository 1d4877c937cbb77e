"""Contract of a backbone, the network that maps images to features."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from sslkit.contracts.component import Component
from sslkit.contracts.context import Context
from sslkit.contracts.options import Options


@dataclass(frozen=True)
class Counterpart:
    """A model of another library that computes a backbone's features from the backbone's weights.

    Build it in three steps::

        model = constructor(**arguments)
        model.<classifier> = torch.nn.Identity()  # if ``classifier`` is not empty
        model.load_state_dict(state, strict=True)

    Attributes:
        constructor: dotted name of the callable that returns the model, such as ``torchvision.models.resnet18``.
        state: the weights, under that library's names.
        arguments: keyword arguments of the constructor.
        classifier: name of the classification sub-module, which has no weights in ``state``. Empty if the model has
            none.
    """

    constructor: str
    state: Mapping[str, Tensor]
    arguments: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    classifier: str = ""


class Backbone(Component, nn.Module):
    """Base class of backbones: networks that map images to features.

    Evaluation, prediction and export use the features of the trained backbone.

    Subclasses set ``feature_dim`` in ``__init__`` and implement ``forward`` and ``feature_maps``::

        class TinyNet(sslkit.Backbone):
            api = 1

            def __init__(self, options, context):
                super().__init__(options, context)
                self.feature_dim = 64
                self.conv = nn.Conv2d(context.channels, 64, 3, stride=2, padding=1)

            def forward(self, images):
                return self.feature_maps(images)[2].mean((2, 3))

            def feature_maps(self, images):
                return {2: self.conv(images).relu()}

    Training passes channels-last tensors, and uses bfloat16 autocast on hardware that computes it fast. ``images`` have
    ``context.channels`` channels and a side of ``context.view_size`` pixels; other sizes (local crops) must work too.

    Set ``no_decay = True`` on custom normalisation layers: the optimizer then applies no weight decay and no trust
    ratio to their parameters. If the context changes the layers (a stem for small images, for example), describe the
    choice in ``extra_repr``; exports record it.

    Attributes:
        feature_dim: int, length D of a feature vector.
    """

    feature_dim: int

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Return the features ``[B, D]`` of normalised images ``[B, C, H, W]``."""

    @abstractmethod
    def feature_maps(self, images: Tensor) -> Mapping[int, Tensor]:
        """Return the last feature map of each stride.

        Args:
            images: normalised images ``[B, C, H, W]``.

        Returns:
            Mapping from stride ``s`` to a map ``[B, C_s, ceil(H / s), ceil(W / s)]``, in increasing order of stride.
        """

    def counterparts(self) -> Mapping[str, Counterpart | str]:
        """Return equivalent models of other libraries, with the current weights, for export.

        Returns:
            Mapping from library name to a ``Counterpart``, or to a sentence that explains why the library has none,
            such as "its first convolution has a 7 x 7 kernel". Empty by default.
        """
        return {}
