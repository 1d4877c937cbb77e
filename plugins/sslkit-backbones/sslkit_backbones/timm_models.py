"""Backbones from timm, selected with ``use = "timm:<name>"``."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import timm
import torch
from pydantic import Field, field_validator
from timm.models import VisionTransformer, group_parameters
from torch import Tensor, nn

import sslkit
from sslkit_backbones.bundled_weights import PACKAGES, bundled_folder, load_bundled_weights
from sslkit_backbones.hugging_face import in_hub_cache, offline_if_unreachable

RESERVED = frozenset(
    {"model_name", "num_classes", "in_chans", "img_size", "checkpoint_path", "pretrained", "features_only"}
)
"""Arguments of ``timm.create_model`` that a recipe must not set, because sslkit sets them or they read a file."""


class Timm(sslkit.Backbone):
    """timm model without its classifier; the feature is the classifier's input.

    Models with a fixed input size, such as vision transformers, are built for the size of the global views. Local views
    of a different size need ``arguments = { dynamic_img_size = true }``, which not all models support. Only
    timm's ``VisionTransformer`` models support ``tokens``, which methods that mask patches need, such as MAE.

    Raises:
        sslkit.OptionError: timm rejects the arguments, the model cannot process the size of a view, or the model's
            output is not a vector.
    """

    api = 2
    variant_option = "model"

    class Options(sslkit.Options):
        model: str
        """Name of the model, such as "resnet50" or "vit_tiny_patch16_224"; timm.list_models() returns all names."""

        arguments: dict[str, bool | int | float | str] = Field(default_factory=dict)
        """More arguments of timm.create_model, such as { patch_size = 4 }."""

        @field_validator("model")
        @classmethod
        def _check_model(cls, name: str) -> str:
            if not timm.is_model(name.partition(".")[0]):
                close = get_close_matches(name, timm.list_models(), n=1)
                raise ValueError("timm has no such model" + (f": did you mean {close[0]!r}?" if close else ""))
            return name

        @field_validator("arguments")
        @classmethod
        def _check_arguments(cls, arguments: dict[str, Any]) -> dict[str, Any]:
            reserved = [name for name in arguments if name in RESERVED or name.startswith("pretrained_")]
            if reserved:
                raise ValueError(f"{', '.join(reserved)} cannot be set here")
            return arguments

    @classmethod
    def check_options(cls, folder: Path) -> Mapping[str, Any]:
        return {"model": "test_resnet"}

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.arguments = _arguments(options, context)
        self.network = _create(options.model, self.arguments)
        self.feature_dim = self._measure_feature_dim(context)
        has_maps = hasattr(self.network, "forward_intermediates") and hasattr(self.network, "feature_info")
        self.provides = frozenset({"feature_maps"} if has_maps else ())
        if isinstance(self.network, VisionTransformer):
            self.provides |= {"tokens"}
            self.patch_size = int(self.network.patch_embed.patch_size[0])

    def forward(self, images: Tensor) -> Tensor:
        """Return features ``[B, D]``."""
        features: Tensor = self.network(images)
        return features

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        """Return the final feature map ``[B, C_s, H_s, W_s]`` of each stride ``s``, in increasing order of stride.

        Raises:
            sslkit.InputError: timm does not provide feature maps for this model.
        """
        if "feature_maps" not in self.provides:
            raise sslkit.InputError(f"timm has no feature maps of {type(self.network).__name__}")
        strides = [int(info["reduction"]) for info in self.network.feature_info]
        intermediates = self.network.forward_intermediates(images, intermediates_only=True)
        maps = dict(zip(strides, intermediates, strict=True))
        return {stride: maps[stride] for stride in sorted(maps)}

    def tokens(
        self,
        images: Tensor,
        keep: Tensor | None = None,
        mask: Tensor | None = None,
        mask_token: Tensor | None = None,
    ) -> sslkit.Tokens:
        """Encode the visible patches of images; see ``sslkit.Backbone.tokens``."""
        network = self.network
        patches = network.patch_embed(images)  # [B, N, E], or [B, H, W, E] with dynamic_img_size
        if mask is not None and mask_token is not None:
            mask = mask.view(*patches.shape[:-1], 1)
            patches = torch.where(mask, mask_token.to(patches.dtype), patches)
        tokens, count = network._pos_embed(patches), network.num_prefix_tokens
        if keep is not None:
            visible = tokens[:, count:].gather(1, keep[..., None].expand(-1, -1, tokens.shape[2]))
            tokens = torch.cat([tokens[:, :count], visible], dim=1)
        tokens = network.norm(network.blocks(network.norm_pre(network.patch_drop(tokens))))
        return sslkit.Tokens(network.forward_head(tokens, pre_logits=True), tokens[:, :count], tokens[:, count:])

    def counterparts(self) -> dict[str, sslkit.Counterpart | str]:
        """Return the equivalent timm model for export, with the current weights."""
        return {"timm": sslkit.Counterpart("timm.create_model", self.network.state_dict(), self.arguments)}

    @classmethod
    def weight_sources(cls, options: sslkit.Options) -> dict[str, sslkit.Preprocessing]:
        """Return the preprocessing of each weight source: ``timm`` (download) and, for some models, ``bundled``."""
        assert isinstance(options, cls.Options)
        config = timm.get_pretrained_cfg(options.model)
        if config is None or not config.has_weights:
            return {}
        interpolation: Any = config.interpolation if config.interpolation == "bilinear" else "bicubic"
        preprocessing = sslkit.Preprocessing(config.input_size[-1], config.mean, config.std, interpolation)
        names = ("timm", *(["bundled"] if options.model in PACKAGES else []))
        return dict.fromkeys(names, preprocessing)

    @classmethod
    def weights_at_hand(cls, options: sslkit.Options, source: str) -> bool:
        """Return whether the weights need no download: they are installed, or in the Hugging Face cache."""
        assert isinstance(options, cls.Options)
        if source == "bundled":
            return bundled_folder(options.model) is not None
        return in_hub_cache(timm.get_pretrained_cfg(options.model))

    def load_weights_from(self, source: str) -> str:
        """Load weights that timm downloads and caches, or weights from an installed package; return their origin.

        Raises:
            sslkit.InputError: the weights cannot be downloaded, or are not installed.
        """
        model = str(self.arguments["model_name"])
        if source == "bundled":
            return load_bundled_weights(model, self.network)
        self.network.load_state_dict(_download(model, self.arguments).state_dict())
        config: Any = timm.get_pretrained_cfg(model)
        return f"timm's {config.architecture}.{config.tag} ({config.license or 'licence unknown'})"

    def blocks(self) -> list[list[nn.Parameter]]:
        """Return the parameters of each block, from input to output.

        A block is a group of layers that share a learning rate under timm's layer-wise learning-rate decay.
        """
        if not hasattr(self.network, "group_matcher"):
            return super().blocks()
        groups = group_parameters(self.network, self.network.group_matcher(coarse=False))
        parameters = dict(self.network.named_parameters())
        return [[parameters[name] for name in groups[key]] for key in sorted(groups)]

    @torch.no_grad()
    def _measure_feature_dim(self, context: sslkit.Context) -> int:
        """Return the length of a feature, and check that the model can process every view size."""
        size = context.view_size or context.image_size
        training = self.network.training
        self.network.eval()
        for other in (*context.view_sizes, size):
            try:
                features = self.network(torch.zeros(1, context.channels, other, other))
            except (RuntimeError, AssertionError, ValueError) as error:
                message = f"the model cannot take views of {other} x {other} pixels: {_cause(error)}"
                if other == size:
                    raise sslkit.OptionError("model", message) from error
                remedy = "" if "dynamic_img_size" in self.arguments else "add dynamic_img_size = true, or "
                raise sslkit.OptionError("arguments", f"{message}; {remedy}make all views of one size") from error
        self.network.train(training)
        if features.ndim != 2:
            raise sslkit.OptionError(
                "model", f"its feature must be a vector, but has shape {tuple(features.shape[1:])}"
            )
        return int(features.shape[1])


def _arguments(options: Timm.Options, context: sslkit.Context) -> dict[str, bool | int | float | str]:
    """Return all arguments of ``timm.create_model`` except ``pretrained``."""
    arguments: dict[str, bool | int | float | str] = {
        "model_name": options.model,
        "in_chans": context.channels,
        "num_classes": 0,
    }
    config = timm.get_pretrained_cfg(options.model)
    if config is not None and config.fixed_input_size:
        arguments["img_size"] = context.view_size or context.image_size
    return options.arguments | arguments


def _create(model: str, arguments: dict[str, Any]) -> Any:
    try:
        return timm.create_model(**arguments)
    except Exception as error:
        raise sslkit.OptionError("arguments", f"timm cannot build {model}: {_cause(error)}") from error


def _download(model: str, arguments: dict[str, Any]) -> Any:
    with offline_if_unreachable() as offline:
        try:
            return timm.create_model(**arguments, pretrained=True)
        except Exception as error:
            cause = (
                f"this machine is offline: {offline}, and its cache does not have them" if offline else _cause(error)
            )
            raise sslkit.InputError(
                f"cannot download timm's weights of {model}: {cause}. Check the network, download them on another "
                'machine and copy its cache (HF_HOME), or set weights = "none".'
            ) from error


def _cause(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
