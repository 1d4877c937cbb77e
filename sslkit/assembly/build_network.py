"""Build a recipe's backbone and heads, and check what they declare."""

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
    """Build a freshly initialised backbone and heads.

    Returns:
        The context with the backbone's ``feature_dim``, the backbone, and the heads by name.

    Raises:
        IncompatibleComponentError: a module declares no output size, or its state is not made of tensors.
    """
    backbone = build_component(recipe, recipe.backbone, Backbone, context)
    _require_positive_int(recipe.backbone, backbone, "feature_dim")
    _require_tensor_state(recipe.backbone, backbone)
    context = replace(context, feature_dim=backbone.feature_dim)
    heads = {spec.name: build_component(recipe, spec, Head, context) for spec in recipe.heads}
    for spec in recipe.heads:
        _require_positive_int(spec, heads[spec.name], "embedding_dim")
        _require_tensor_state(spec, heads[spec.name])
    return context, backbone, heads


def _require_positive_int(spec: ComponentSpec, module: nn.Module, attribute: str) -> None:
    value = getattr(module, attribute, None)
    if not isinstance(value, int) or value < 1:
        raise IncompatibleComponentError(f"{spec.entry}: its {attribute} must be a positive integer, not {value!r}")


def _require_tensor_state(spec: ComponentSpec, module: nn.Module) -> None:
    """Refuse now what could not be saved at the end of the training."""
    names = [name for name, value in module.state_dict().items() if not isinstance(value, Tensor)]
    if names:
        raise IncompatibleComponentError(
            f"{spec.entry}: {names[0]} in its state is not a tensor, but weights are saved as tensors: "
            "keep it as a buffer"
        )
