"""Which parameters are decayed and scaled by a trust ratio, and which are not."""

from __future__ import annotations

from torch import nn

from sslkit.contracts.optimizer import ParameterGroup

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def parameter_groups(module: nn.Module) -> tuple[ParameterGroup, ...]:
    """All trainable parameters: weights, and apart from them biases and the parameters of normalisation layers.

    A layer that normalises and is none of torch's says so by an attribute, ``no_decay = True``.
    """
    apart = {id(p) for layer in module.modules() if _normalises(layer) for p in layer.parameters(recurse=False)}
    weights: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for parameter in module.parameters():
        if parameter.requires_grad:
            (others if parameter.ndim < 2 or id(parameter) in apart else weights).append(parameter)
    groups = (
        ParameterGroup("weights", tuple(weights), decay=True),
        ParameterGroup("bias-and-norm", tuple(others), decay=False),
    )
    return tuple(group for group in groups if group.parameters)


def _normalises(layer: nn.Module) -> bool:
    return isinstance(layer, NORMS) or getattr(layer, "no_decay", False) is True
