"""Any backbone of timm, as ``use = "timm:<name>"``."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import timm
import torch
from pydantic import Field, field_validator
from torch import Tensor

import sslkit

OWN = frozenset({"model_name", "num_classes", "in_chans", "img_size", "checkpoint_path", "pretrained", "features_only"})
"""Arguments of timm that are settled here, or that would read a file."""


class Timm(sslkit.Backbone):
    """A model of timm without its classifier; its feature is what timm would classify.

    Models of a fixed input size (vision transformers and the like) are built for the size of the global views; local
    views of another size need ``arguments = { dynamic_img_size = true }``, where the model has that.

    Raises:
        sslkit.OptionError: timm refuses the arguments, or the model cannot take views of this size.
        sslkit.InputError: pretrained weights cannot be fetched.
    """

    api = 1
    variant_option = "model"

    class Options(sslkit.Options):
        model: str
        """Name of the model, "resnet50" or "vit_tiny_patch16_224", say; timm.list_models() lists them."""

        pretrained: bool = False
        """Start from timm's pretrained weights, which are downloaded."""

        arguments: dict[str, bool | int | float | str] = Field(default_factory=dict)
        """Further arguments of timm.create_model, such as { patch_size = 4 }."""

        @field_validator("model")
        @classmethod
        def _known(cls, name: str) -> str:
            if not timm.is_model(name.partition(".")[0]):
                close = get_close_matches(name, timm.list_models(), n=1)
                raise ValueError("timm has no such model" + (f": did you mean {close[0]!r}?" if close else ""))
            return name

        @field_validator("arguments")
        @classmethod
        def _ours(cls, arguments: dict[str, Any]) -> dict[str, Any]:
            taken = [name for name in arguments if name in OWN or name.startswith("pretrained_")]
            if taken:
                raise ValueError(f"{', '.join(taken)} cannot be set here")
            return arguments

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.arguments = _arguments(options, context)
        self.network = _create(options, self.arguments, context)
        self.feature_dim = self._measure(context)

    def forward(self, images: Tensor) -> Tensor:
        """Features ``[B, D]``."""
        features: Tensor = self.network(images)
        return features

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        """The last map at each stride that the model has, by increasing stride.

        Raises:
            sslkit.InputError: timm gives no maps of this model.
        """
        if not (hasattr(self.network, "forward_intermediates") and hasattr(self.network, "feature_info")):
            raise sslkit.InputError(f"timm gives no feature maps of {type(self.network).__name__}")
        strides = [int(info["reduction"]) for info in self.network.feature_info]
        found = self.network.forward_intermediates(images, intermediates_only=True)
        maps = dict(zip(strides, found, strict=True))
        return {stride: maps[stride] for stride in sorted(maps)}

    def counterparts(self) -> dict[str, sslkit.Counterpart | str]:
        """The model itself."""
        return {"timm": sslkit.Counterpart("timm.create_model", self.network.state_dict(), self.arguments)}

    @torch.no_grad()
    def _measure(self, context: sslkit.Context) -> int:
        size = context.view_size or context.image_size
        training = self.network.training
        try:
            found = self.network.eval()(torch.zeros(1, context.channels, size, size))
        except (RuntimeError, AssertionError, ValueError) as error:
            raise sslkit.OptionError(
                "model", f"it cannot take views of {size} x {size} pixels: {_cause(error)}"
            ) from error
        self.network.train(training)
        if found.ndim != 2:
            raise sslkit.OptionError("model", f"its feature has the shape {tuple(found.shape[1:])}, not a single one")
        return int(found.shape[1])


def _arguments(options: Timm.Options, context: sslkit.Context) -> dict[str, bool | int | float | str]:
    """What ``timm.create_model`` is called with, without the question of weights."""
    own: dict[str, bool | int | float | str] = {
        "model_name": options.model,
        "in_chans": context.channels,
        "num_classes": 0,
    }
    known = timm.get_pretrained_cfg(options.model)
    if known is not None and known.fixed_input_size:
        own["img_size"] = context.view_size or context.image_size
    return options.arguments | own


def _create(options: Timm.Options, arguments: dict[str, Any], context: sslkit.Context) -> Any:
    try:
        # Without weights first: what fails now is an argument's fault, what fails below is the network's.
        network = timm.create_model(**arguments)
    except Exception as error:
        raise sslkit.OptionError("arguments", f"timm cannot build {options.model}: {_cause(error)}") from error
    if not options.pretrained or context.restoring:
        return network
    try:
        return timm.create_model(**arguments, pretrained=True)
    except Exception as error:
        raise sslkit.InputError(
            f"timm's weights of {options.model} cannot be fetched: {_cause(error)}. Check the network, "
            "fetch them on a machine that has one and copy its cache (HF_HOME), or set pretrained = false."
        ) from error


def _cause(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
