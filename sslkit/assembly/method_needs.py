"""Check that a recipe provides what its method and its losses read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.context import Context
from sslkit.contracts.head import Head
from sslkit.contracts.loss import Loss
from sslkit.contracts.method import Method
from sslkit.errors import RecipeError
from sslkit.recipe.recipe import Recipe

ABILITIES = {
    "tokens": ("tokens", 'use a vision transformer of timm, such as "timm:vit_tiny_patch16_224"'),
    "feature_maps": ("feature maps", 'use another backbone, such as "resnet18"'),
}
"""Words and advice for error messages, for each need that a backbone provides."""


def check_method_needs(recipe: Recipe, context: Context, backbone: Backbone, heads: Mapping[str, Head]) -> None:
    """Check that backbone, heads and views provide what the method needs.

    Raises:
        RecipeError: the backbone, the heads or the views lack something that the method needs.
    """
    method, name = recipe.method.component, recipe.method.entry.name
    needs = method.needs if issubclass(method, Method) else frozenset()
    for ability, (words, hint) in ABILITIES.items():
        if ability in needs and ability not in backbone.provides:
            message = f"the backbone {recipe.backbone.use!r} does not provide {words}, which the method {name!r} reads"
            raise RecipeError([recipe.document.problem((*recipe.backbone.path, "use"), message, hint)])
    if "fixed_size" in needs and len(set(context.view_sizes)) > 1:
        sizes = " and ".join(str(size) for size in context.view_sizes)
        message = f"the method {name!r} needs views of one size, but their sides are {sizes} pixels"
        raise RecipeError([recipe.document.problem(recipe.views.path, message, "remove the local views")])
    if "logits" in needs and not any(head.classifiers for head in heads.values()):
        message = f"the method {name!r} needs logits, but no head has classifiers: use a head such as dino"
        raise RecipeError([recipe.document.problem((*recipe.method.path, "use"), message)])


def view_problem(loss: type[Loss], context: Context) -> str:
    """Return why a loss cannot read the views of the context, such as "needs at least 2 views", or ``""`` if it can."""
    context = visible_views(loss, context)
    kind = "global views" if loss.global_views_only else "views"
    count, least, most = context.view_count, loss.min_views, loss.max_views
    if count < least or (most is not None and count > most):
        number = f"exactly {least}" if least == most else f"at least {least}" if count < least else f"at most {most}"
        return f"needs {number} {kind} of each image, but there are {count}"
    if context.global_view_count < loss.min_global_views:
        least, count = loss.min_global_views, context.global_view_count
        return f"needs at least {least} global views of each image, but there are {count}"
    return ""


def visible_views(loss: type[Loss], context: Context) -> Context:
    """Return the context with ``view_count`` set to the number of views that the loss reads."""
    return replace(context, view_count=context.global_view_count) if loss.global_views_only else context
