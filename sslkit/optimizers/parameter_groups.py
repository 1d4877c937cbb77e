"""Split parameters into groups with and without weight decay and trust ratio."""

from __future__ import annotations

from torch import nn

from sslkit.contracts.optimizer import ParameterGroup

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
"""PyTorch's normalisation layers."""


def parameter_groups(module: nn.Module) -> tuple[ParameterGroup, ...]:
    """Split trainable parameters into two groups: weights, and biases with parameters of normalisation layers.

    Custom normalisation layers are recognised by their attribute ``no_decay = True``.
    """
    norm_ids = {id(p) for layer in module.modules() if _normalises(layer) for p in layer.parameters(recurse=False)}
    weights: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for parameter in module.parameters():
        if parameter.requires_grad:
            (others if parameter.ndim < 2 or id(parameter) in norm_ids else weights).append(parameter)
    groups = (
        ParameterGroup("weights", tuple(weights), decay=True),
        ParameterGroup("bias-and-norm", tuple(others), decay=False),
    )
    return tuple(group for group in groups if group.parameters)


def _normalises(layer: nn.Module) -> bool:
    return isinstance(layer, NORMS) or getattr(layer, "no_decay", False) is True
