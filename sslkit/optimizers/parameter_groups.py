"""Split the parameters of a module into groups with the same weight decay and learning rate."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from sslkit.contracts.optimizer import ParameterGroup

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
"""PyTorch's normalisation layers."""


def parameter_groups(module: nn.Module, lr_scales: Mapping[str, float] | None = None) -> tuple[ParameterGroup, ...]:
    """Split the trainable parameters of a module into groups with the same weight decay and learning rate.

    Weight decay applies to weights, but not to biases or the parameters of normalisation layers. A normalisation
    layer that is not from PyTorch is recognised by its attribute ``no_decay = True``. Weight decay does not apply to
    the parameters that a module's method ``no_weight_decay`` names, as in timm's models.

    Args:
        module: the module.
        lr_scales: multiplier of the learning rate, keyed by parameter name; 1 for all other parameters. Parameters
            with different multipliers are in different groups.
    """
    scales = lr_scales or {}
    without_decay = {id(p) for layer in module.modules() if normalises(layer) for p in layer.parameters(recurse=False)}
    without_decay |= {id(parameter) for layer in module.modules() for parameter in _named_without_decay(layer)}
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            decay = parameter.ndim >= 2 and id(parameter) not in without_decay
            groups.setdefault((not decay, -scales.get(name, 1.0)), []).append(parameter)
    return tuple(
        ParameterGroup("bias-and-norm" if bias else "weights", tuple(groups[bias, scale]), not bias, -scale)
        for bias, scale in sorted(groups)
    )


def _named_without_decay(layer: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that the layer's method ``no_weight_decay`` names; none without this method.

    Names without a parameter are ignored, because timm's models name parameters that they may lack.
    """
    declared: object = getattr(layer, "no_weight_decay", None)
    names = declared() if callable(declared) else ()
    parameters = dict(layer.named_parameters()) if names else {}
    return [parameters[name] for name in names if name in parameters]


def normalises(layer: nn.Module) -> bool:
    """Return whether a layer is a normalisation layer."""
    return isinstance(layer, NORMS) or getattr(layer, "no_decay", False) is True
