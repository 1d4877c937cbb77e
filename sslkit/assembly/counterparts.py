"""The network of another library that has a backbone's weights: made, loaded strictly, compared."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from sslkit.contracts.backbone import Backbone, Counterpart
from sslkit.errors import InputError


def make(counterpart: Counterpart) -> nn.Module:
    """The network, in eval mode, with the weights.

    Raises:
        InputError: its library is not installed.
        Exception: whatever else making it or loading the weights strictly raises.
    """
    module, _, name = counterpart.constructor.rpartition(".")
    library = module.partition(".")[0]
    try:
        constructor: Any = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise InputError(f"{library} is not installed, and what is meant for it is tried with it: install it") from None
    with torch.random.fork_rng(devices=[]):
        model: nn.Module = constructor(**counterpart.arguments)
    if counterpart.classifier:
        model.set_submodule(counterpart.classifier, nn.Identity(), strict=True)
    model.load_state_dict(counterpart.state, strict=True)
    return model.eval()


@torch.no_grad()
def difference(backbone: Backbone, counterpart: Counterpart, images: Tensor) -> float:
    """Largest difference of any number of their features, of normalised images; relative where numbers exceed 1.

    Raises:
        InputError: the counterpart's library is not installed.
        Exception: whatever else making or calling it raises.
    """
    expected, found = backbone(images), make(counterpart)(images)
    if found.shape != expected.shape:
        raise ValueError(f"its features are {tuple(found.shape)}, the backbone's {tuple(expected.shape)}")
    return float(((found - expected).abs() / expected.abs().clamp(min=1)).max())


def loading_code(counterpart: Counterpart, file: str) -> str:
    """Python that makes the network from a file of its weights, as text."""
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
