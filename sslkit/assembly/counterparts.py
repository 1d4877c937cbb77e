"""Build the torchvision or timm model that is equivalent to a backbone, and compare the features of both."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from sslkit.contracts.backbone import Backbone, Counterpart
from sslkit.errors import InputError


def build_counterpart(counterpart: Counterpart) -> nn.Module:
    """Return the equivalent torchvision or timm model with the backbone's weights, in eval mode.

    Raises:
        InputError: the library is not installed.
        Exception: the library raises an error, or the weights do not fit the model.
    """
    module, _, name = counterpart.constructor.rpartition(".")
    library = module.partition(".")[0]
    try:
        constructor: Any = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise InputError(f"{library} is not installed; install it, because it verifies the exported weights") from None
    with torch.random.fork_rng(devices=[]):
        model: nn.Module = constructor(**counterpart.arguments)
    if counterpart.classifier:
        model.set_submodule(counterpart.classifier, nn.Identity(), strict=True)
    model.load_state_dict(counterpart.state, strict=True)
    return model.eval()


@torch.no_grad()
def feature_difference(backbone: Backbone, counterpart: Counterpart, images: Tensor) -> float:
    """Return the largest difference between the features of a backbone and those of its counterpart.

    Differences are relative where the absolute value of the backbone's feature exceeds 1, and absolute elsewhere.

    Args:
        backbone: the backbone.
        counterpart: description of the equivalent torchvision or timm model.
        images: normalised images ``[B, C, S, S]``.

    Raises:
        InputError: the counterpart's library is not installed.
        ValueError: the features differ in shape.
        Exception: the library raises an error, or the weights do not fit the model.
    """
    expected, actual = backbone(images), build_counterpart(counterpart)(images)
    if actual.shape != expected.shape:
        raise ValueError(f"its features have shape {tuple(actual.shape)}, the backbone's {tuple(expected.shape)}")
    return float(((actual - expected).abs() / expected.abs().clamp(min=1)).max())


def loading_code(counterpart: Counterpart, file: str) -> str:
    """Return Python code that builds the counterpart and loads its weights from the safetensors file ``file``."""
    module = counterpart.constructor.rpartition(".")[0]
    arguments = ", ".join(f"{name}={value!a}" for name, value in counterpart.arguments.items())
    lines = [
        f"import {module}",
        *(["import torch"] if counterpart.classifier else []),
        "from safetensors.torch import load_file",
        "",
        f"model = {counterpart.constructor}({arguments})",
        *([f"model.{counterpart.classifier} = torch.nn.Identity()"] if counterpart.classifier else []),
        f"model.load_state_dict(load_file({file!a}), strict=True)",
        "model.eval()",
    ]
    return "\n".join(lines)
