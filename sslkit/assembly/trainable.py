"""Freeze some layers of the backbone, and scale the learning rates of the other layers."""

from __future__ import annotations

from torch import nn

from sslkit.contracts.backbone import Backbone
from sslkit.errors import InputError
from sslkit.optimizers.parameter_groups import normalises
from sslkit.recipe.sections import Wiring

FROZEN = "sslkit_frozen"
"""Name of the attribute that marks frozen sub-modules; copies of a module keep the attribute."""


def freeze(backbone: Backbone, train: str) -> None:
    """Disable the gradients of the backbone's parts that are not trained, and set these parts to eval mode.

    Args:
        backbone: the backbone.
        train: the value of ``[backbone] train``.

    Raises:
        InputError: ``train`` names more blocks than the backbone has, or normalisation layers although there are none.
    """
    if train == "all":
        return
    trained: set[int] = set()
    if train == "norms":
        norms = [module for module in backbone.modules() if normalises(module)]
        trained = {id(parameter) for module in norms for parameter in module.parameters()}
        if not trained:
            raise InputError("the backbone has no normalisation layers with parameters")
    elif train != "none":
        count, blocks = int(train.split()[1]), backbone.blocks()
        if count > len(blocks):
            raise InputError(f"the backbone has {len(blocks)} blocks")
        trained = {id(parameter) for block in blocks[-count:] for parameter in block}
    for parameter in backbone.parameters():
        parameter.requires_grad_(parameter.requires_grad and id(parameter) in trained)
    for part in backbone.modules():
        parameters = list(part.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            setattr(part, FROZEN, True)
    keep_frozen_parts_in_eval_mode(backbone)  # Lightning trains a network in the mode in which it was built


def keep_frozen_parts_in_eval_mode(module: nn.Module) -> None:
    """Set the frozen parts of a module to eval mode, including those in copies of the backbone such as a teacher.

    In train mode, BatchNorm layers of frozen parts would update their statistics.
    """
    for part in module.modules():
        if getattr(part, FROZEN, False):
            part.eval()


def lr_scales(backbone: Backbone, wiring: Wiring) -> dict[str, float]:
    """Return the learning-rate multipliers of the backbone's parameters.

    Keys are the parameters' names in the ``Method`` module, such as ``backbone.conv1.weight``. Parameters with the
    multiplier 1 are left out.

    Args:
        backbone: the backbone.
        wiring: ``lr_scale`` and ``layer_decay`` of the recipe's ``[backbone]`` table.
    """
    blocks = backbone.blocks()
    depth = {id(parameter): index for index, block in enumerate(blocks) for parameter in block}
    scales = {}
    for name, parameter in backbone.named_parameters():
        below = len(blocks) - 1 - depth.get(id(parameter), 0)
        scale = wiring.lr_scale * wiring.layer_decay ** max(0, below)
        if scale != 1:
            scales[f"backbone.{name}"] = scale
    return scales
