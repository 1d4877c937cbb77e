"""Build a recipe's backbone and heads; check that output sizes are set and state dicts contain only tensors."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from sslkit.assembly.build_component import build_component
from sslkit.contracts.backbone import Backbone
from sslkit.contracts.context import Context
from sslkit.contracts.head import Head
from sslkit.errors import IncompatibleComponentError
from sslkit.recipe.recipe import ComponentSpec, NetworkRecipe


def build_network(recipe: NetworkRecipe, context: Context) -> tuple[Context, Backbone, dict[str, Head]]:
    """Build the backbone and the heads with random weights.

    Returns:
        The context with the backbone's ``feature_dim``, the backbone, and a mapping from name to head.

    Raises:
        IncompatibleComponentError: a module does not set its output size, or its state dict contains a value that is
            not a tensor.
    """
    backbone = build_backbone(recipe, context)
    context = replace(context, feature_dim=backbone.feature_dim)
    return context, backbone, build_heads(recipe, context)


def build_backbone(recipe: NetworkRecipe, context: Context) -> Backbone:
    """Build the backbone with random weights.

    Raises:
        IncompatibleComponentError: as for ``build_network``.
    """
    backbone = build_component(recipe, recipe.backbone, Backbone, context)
    _require_positive_int(recipe.backbone, backbone, "feature_dim")
    _require_tensor_state(recipe.backbone, backbone)
    return backbone


def build_heads(recipe: NetworkRecipe, context: Context) -> dict[str, Head]:
    """Build the heads with random weights, keyed by name.

    Args:
        recipe: the recipe.
        context: the context with the backbone's ``feature_dim``.

    Raises:
        IncompatibleComponentError: as for ``build_network``.
    """
    heads = {spec.name: build_component(recipe, spec, Head, context) for spec in recipe.heads}
    for spec in recipe.heads:
        _require_positive_int(spec, heads[spec.name], "embedding_dim")
        _require_tensor_state(spec, heads[spec.name])
    return heads


def _require_positive_int(spec: ComponentSpec, module: nn.Module, attribute: str) -> None:
    value = getattr(module, attribute, None)
    if not isinstance(value, int) or value < 1:
        raise IncompatibleComponentError(f"{spec.entry}: its {attribute} must be a positive integer, not {value!r}")


def _require_tensor_state(spec: ComponentSpec, module: nn.Module) -> None:
    """Raise an error if the module's state dict contains a non-tensor, which could not be saved after training."""
    names = [name for name, value in module.state_dict().items() if not isinstance(value, Tensor)]
    if names:
        raise IncompatibleComponentError(
            f"{spec.entry}: {names[0]} in its state is not a tensor, but weights are saved as tensors: "
            "keep it as a buffer"
        )
