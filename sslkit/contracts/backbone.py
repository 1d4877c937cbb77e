"""Backbone: images to features."""

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
    """Another library's network that gives a backbone's features once it has the backbone's weights.

    It is made in three steps: ``model = constructor(**arguments)``; ``model.<classifier> = torch.nn.Identity()`` where
    one is named; ``model.load_state_dict(state, strict=True)``.

    Attributes:
        constructor: dotted name of what makes it, such as ``torchvision.models.resnet18``.
        arguments: what that is called with.
        state: the weights, under that library's names.
        classifier: name of the sub-module that classifies, whose weights are not in ``state``; empty where there is
            none, or the arguments leave it out.
    """

    constructor: str
    state: Mapping[str, Tensor]
    arguments: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    classifier: str = ""


class Backbone(Component, nn.Module):
    """A network whose feature is what evaluation uses and what a user takes away.

    It is called in channels-last memory order, and under bfloat16 autocast where a device is fast in that.  A layer of
    its own that normalises has ``no_decay = True``: its parameters are then neither decayed nor given a trust ratio.

    ``context.channels`` and ``context.view_size`` tell what it will be given; views of other sizes (local crops)
    must work as well.  What the context settled of its layers, a stem say, its ``extra_repr`` tells; exports state it.
    """

    feature_dim: int
    """D, the length of one feature."""

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Features ``[B, D]`` of normalised images ``[B, C, H, W]``."""

    @abstractmethod
    def feature_maps(self, images: Tensor) -> Mapping[int, Tensor]:
        """The last map ``[B, Cs, H / s, W / s]`` (rounded up) at each stride ``s``, by increasing stride."""

    def counterparts(self) -> Mapping[str, Counterpart | str]:
        """The same network in other libraries, by library, with the weights it has now; none unless overridden.

        In place of a counterpart, text says why that library has none: "its first convolution has 7 x 7 places", say.
        """
        return {}
