"""Contract of a backbone, the network that maps images to features."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from sslkit.contracts.component import Component
from sslkit.contracts.context import Context
from sslkit.contracts.options import Options
from sslkit.contracts.preprocessing import Preprocessing


@dataclass(frozen=True)
class Counterpart:
    """Description of an equivalent torchvision or timm model, which computes the same features from the same weights.

    To build the model::

        model = constructor(**arguments)
        model.<classifier> = torch.nn.Identity()  # if ``classifier`` is not empty
        model.load_state_dict(state, strict=True)

    Attributes:
        constructor: dotted name of the callable that returns the model, such as ``torchvision.models.resnet18``.
        state: mapping from the library's parameter names to the weights.
        arguments: keyword arguments of the constructor.
        classifier: name of the classification sub-module, whose weights are not in ``state``. Empty if the model has
            no such sub-module.
    """

    constructor: str
    state: Mapping[str, Tensor]
    arguments: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    classifier: str = ""


BackboneAbility = Literal["feature_maps", "tokens"]


@dataclass(frozen=True)
class Tokens:
    """Output of a transformer for a batch of images.

    Attributes:
        features: tensor ``[B, D]``, the features of the images as in ``Backbone.forward``.
        prefix: tensor ``[B, P, D]``, the outputs of class and register tokens; P may be 0.
        patches: tensor ``[B, M, D]``, the outputs of the M encoded patches.
    """

    features: Tensor
    prefix: Tensor
    patches: Tensor


class Backbone(Component, nn.Module):
    """Base class of backbones: networks that map images to features.

    Evaluation, prediction and export use the features of the trained backbone.

    Subclasses set ``feature_dim`` in ``__init__`` and implement ``forward`` and ``feature_maps``::

        class TinyNet(sslkit.Backbone):
            api = 2

            def __init__(self, options, context):
                super().__init__(options, context)
                self.feature_dim = 64
                self.conv = nn.Conv2d(context.channels, 64, 3, stride=2, padding=1)

            def forward(self, images):
                return self.feature_maps(images)[2].mean((2, 3))

            def feature_maps(self, images):
                return {2: self.conv(images).relu()}

    In training, ``images`` are channels-last tensors, and hardware with fast bfloat16 runs ``forward`` under bfloat16
    autocast. ``images`` have ``context.channels`` channels and a side of ``context.view_size`` pixels. Images of other
    sizes (local views) must also work.

    Set ``no_decay = True`` on custom normalisation layers. The optimizer then applies no weight decay and no trust
    ratio to their parameters. If layers depend on the context, such as a stem for small images, describe them in
    ``extra_repr``. Exported files contain the returned text.

    A transformer implements ``tokens``, for masked image modelling, and adds ``"tokens"`` to ``provides``. Override
    ``no_weight_decay`` to exclude parameters such as a class token from weight decay.

    A backbone with pretrained weights overrides ``weight_sources``, ``weights_at_hand`` and ``load_weights_from``. A
    backbone whose layers form blocks overrides ``blocks``.

    With a frozen backbone (``train = "none"``), training uses features that are computed once. If a backbone is called
    with such features ``[B, D]`` instead of images, the call returns the features unchanged, without ``forward``.

    Attributes:
        feature_dim: int, length D of a feature vector.
        provides: frozenset of the optional abilities ``"feature_maps"`` and ``"tokens"``. Methods that need an ability
            refuse other backbones. Default: ``{"feature_maps"}``.
        patch_size: int, side of a patch in pixels. Required if the backbone provides tokens.
    """

    feature_dim: int
    provides: frozenset[BackboneAbility] = frozenset({"feature_maps"})
    patch_size: int

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__()

    def __call__(self, images: Tensor) -> Tensor:
        features: Tensor = images if images.ndim == 2 else super().__call__(images)
        return features

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Return the features ``[B, D]`` of normalised images ``[B, C, H, W]``."""

    @abstractmethod
    def feature_maps(self, images: Tensor) -> Mapping[int, Tensor]:
        """Return the final feature map of each stride.

        Args:
            images: normalised images ``[B, C, H, W]``.

        Returns:
            Mapping from stride ``s`` to a map ``[B, C_s, ceil(H / s), ceil(W / s)]``, in increasing order of stride.
        """

    def tokens(
        self,
        images: Tensor,
        keep: Tensor | None = None,
        mask: Tensor | None = None,
        mask_token: Tensor | None = None,
    ) -> Tokens:
        """Encode the visible patches of images, for masked image modelling.

        Patches are numbered by row, from the top left: N patches of ``patch_size`` x ``patch_size`` pixels. Class and
        register tokens, and the positions of patches, are as in ``forward``.

        Args:
            images: normalised images ``[B, C, H, W]``.
            keep: int64 tensor ``[B, M]``, the indices of the patches to encode; all others are left out. By default,
                all N patches are encoded, in order.
            mask: bool tensor ``[B, N]``. Where ``mask`` is True, the mask token replaces the patch embedding. Position
                embeddings are added afterwards.
            mask_token: tensor ``[D]``, required with ``mask``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no tokens")

    def no_weight_decay(self) -> frozenset[str]:
        """Return the names of parameters to exclude from weight decay, such as ``{"cls_token"}``.

        Biases and the parameters of normalisation layers are always excluded. Any module of a component can define
        this method. Names are relative to the module. Default: empty.
        """
        return frozenset()

    @classmethod
    def weight_sources(cls, options: Options) -> Mapping[str, Preprocessing]:
        """Return the pretrained weights that a recipe can name, such as ``weights = "timm"``.

        sslkit calls this method before it builds the network. The method must not download files.

        Args:
            options: the backbone's options.

        Returns:
            Mapping from source name to the preprocessing with which the source's weights were trained. Empty by
            default.
        """
        return {}

    @classmethod
    def weights_at_hand(cls, options: Options, source: str) -> bool:
        """Return whether ``load_weights_from`` needs no download; False by default.

        ``sslkit init`` proposes only such weights. The check must be fast, so it must not read the weights.

        Args:
            options: the backbone's options.
            source: one of the names in ``weight_sources``.
        """
        return False

    def load_weights_from(self, source: str) -> str:
        """Load pretrained weights.

        Args:
            source: one of the names in ``weight_sources``.

        Returns:
            The origin and the licence of the weights, for the log.

        Raises:
            InputError: the weights cannot be found or downloaded, or do not fit the network.
        """
        raise NotImplementedError(f"{type(self).__name__} declares weights {source!r} but does not load them")

    def blocks(self) -> list[list[nn.Parameter]]:
        """Return the parameters of each block, from input to output.

        ``train = "last N blocks"`` and ``layer_decay`` use the blocks. By default, each direct sub-module that has
        parameters is a block. Parameters outside all blocks count as part of the first block.
        """
        parameters = [list(child.parameters()) for child in self.children()]
        return [block for block in parameters if block]

    def counterparts(self) -> Mapping[str, Counterpart | str]:
        """Return the equivalent models of other libraries, with the current weights, for export.

        Returns:
            Mapping from library name to a ``Counterpart``. If the library has no equivalent model, the value is a
            sentence with the reason, such as "its first convolution has a 7 x 7 kernel". Empty by default.
        """
        return {}
