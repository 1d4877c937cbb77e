"""Check that a recipe provides what its method and its losses read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.context import Context
from sslkit.contracts.head import Head
from sslkit.contracts.loss import Loss
from sslkit.contracts.method import Method
from sslkit.contracts.views import ViewLimits
from sslkit.errors import Problem
from sslkit.recipe.recipe import ComponentSpec, Recipe

ABILITIES = {
    "tokens": ("tokens", 'use a vision transformer of timm, such as "timm:vit_tiny_patch16_224"'),
    "feature_maps": ("feature maps", 'use another backbone, such as "resnet18"'),
}
"""Words and advice for error messages, for each need that a backbone provides."""

VIEW_HINT = "change the number of views in [views]"


def backbone_problems(recipe: Recipe, backbone: Backbone) -> list[Problem]:
    """Return a problem for each ability that the method reads and the backbone does not provide."""
    return [
        recipe.document.problem(
            (*recipe.backbone.path, "use"),
            f"the backbone {recipe.backbone.use!r} does not provide {words}, which the method "
            f"{recipe.method.entry.name!r} reads",
            hint,
        )
        for ability, (words, hint) in ABILITIES.items()
        if ability in method_class(recipe).needs and ability not in backbone.provides
    ]


def view_problems(recipe: Recipe, context: Context) -> list[Problem]:
    """Return the problems of a method and losses that cannot read the views of the context."""
    method, problem = method_class(recipe), recipe.document.problem
    problems = []
    if "fixed_size" in method.needs and len(set(context.view_sizes)) > 1:
        sizes = len(set(context.view_sizes))
        message = f"the method {recipe.method.entry.name!r} needs views of one size, but there are {sizes} sizes"
        problems.append(problem(recipe.views.path, message, "remove the local views"))
    if missing := missing_views(method, context):
        message = f"the method {recipe.method.entry.name!r} {missing}"
        problems.append(problem((*recipe.method.path, "use"), message, VIEW_HINT))
    for spec in recipe.losses:
        if missing := missing_views(_loss_class(spec), visible_views(method, context)):
            message = f"the loss {spec.use!r} {missing}"
            problems.append(problem((*spec.path, "use"), message, VIEW_HINT))
    return problems


def head_problems(recipe: Recipe, heads: Mapping[str, Head]) -> list[Problem]:
    """Return the problems of a method and losses that lack a head, classifiers or a teacher."""
    method, problem = method_class(recipe), recipe.document.problem
    problems = []
    if "logits" in method.needs and not any(head.classifiers for head in heads.values()):
        message = f"the method {recipe.method.entry.name!r} needs logits, but no head has classifiers"
        problems.append(problem((*recipe.method.path, "use"), message, "use a head such as dino"))
    for spec in recipe.losses:
        needs, name = _loss_class(spec).needs, head_name(spec, heads)
        head, missing, hint = heads.get(name), "", ""
        if head is None and needs & {"embeddings", "logits"}:
            missing = f"needs {' and '.join(sorted(needs - {'features', 'teacher'}))}, but the recipe has no [head]"
            hint = 'add [head] with use = "..."'
        elif head is not None and "logits" in needs and not head.classifiers:
            missing, hint = f"needs logits, but the head {name!r} has no classifiers", "use a head with classifiers"
        elif "teacher" in needs and "teacher" not in method.branches:
            missing = f"needs a teacher, but the method {recipe.method.entry.name!r} has none"
            hint = 'use [method] use = "momentum-teacher"'
        if missing:
            problems.append(problem((*spec.path, "use"), f"the loss {spec.use!r} {missing}", hint))
    return problems


def missing_views(component: type[ViewLimits], context: Context) -> str:
    """Return why a loss or method cannot read the views, such as "needs at least 2 views", or ``""`` if it can."""
    context = visible_views(component, context)
    kind = "global views" if component.global_views_only else "views"
    count, least, most = context.view_count, component.min_views, component.max_views
    if count < least or (most is not None and count > most):
        number = f"exactly {least}" if least == most else f"at least {least}" if count < least else f"at most {most}"
        return f"needs {number} {kind} of each image, but there are {count}"
    if context.global_view_count < component.min_global_views:
        least, count = component.min_global_views, context.global_view_count
        return f"needs at least {least} global views of each image, but there are {count}"
    return ""


def visible_views(component: type[ViewLimits], context: Context) -> Context:
    """Return the context with ``view_count`` set to the number of views that a loss or a method reads."""
    return replace(context, view_count=context.global_view_count) if component.global_views_only else context


def method_class(recipe: Recipe) -> type[Method]:
    """Return the class of the recipe's method."""
    assert issubclass(recipe.method.component, Method)
    return recipe.method.component


def head_name(spec: ComponentSpec, heads: Mapping[str, Head]) -> str:
    """Return the name of the head that a loss reads, or ``""`` if the recipe has no heads."""
    return spec.wiring.head or next(iter(heads), "")


def _loss_class(spec: ComponentSpec) -> type[Loss]:
    assert issubclass(spec.component, Loss)
    return spec.component
