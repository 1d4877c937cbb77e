"""Build a recipe's view policy and positives."""

from __future__ import annotations

from dataclasses import replace

from sslkit.assembly.build_component import build_component
from sslkit.contracts.context import Context
from sslkit.contracts.positives import Positives
from sslkit.contracts.views import Views
from sslkit.recipe.recipe import Recipe


def build_views(recipe: Recipe, context: Context) -> tuple[Context, Views, Positives]:
    """Build the view policy and the positives.

    Returns:
        The context with channels, sizes and number of the views (including those of positives), the view policy, and
        the positives.
    """
    views = build_component(recipe, recipe.views, Views, context)
    positives = build_component(recipe, recipe.positives, Positives, context)
    context = replace(
        context,
        channels=len(views.mean),
        view_size=views.size,
        view_sizes=tuple(group.size for group in views.groups),
        view_count=views.count * (1 + positives.count),
        global_view_count=views.global_views * (1 + positives.count),
    )
    return context, views, positives
