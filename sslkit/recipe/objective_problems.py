"""Check that a recipe's losses and heads fit its method, and that a method that reads images trains the backbone."""

from __future__ import annotations

from typing import Any

from sslkit.errors import Problem
from sslkit.recipe.recipe import Recipe

PIXEL_NEEDS = frozenset({"images", "tokens", "feature_maps"})
"""Needs of a method that reads the pixels of views."""


def objective_problems(recipe: Recipe) -> list[Problem]:
    """Return the problems of a recipe whose losses, heads or frozen backbone do not fit its method."""
    method: Any = recipe.method.component  # this module must not import torch, and so not the class Method
    name, problem = recipe.method.entry.name, recipe.document.problem
    reads_heads = bool(method.needs & {"embeddings", "logits"})
    problems = []
    if not method.own_objective and not recipe.losses:
        problems.append(problem(("loss",), "the section is missing", 'add [loss] with use = "..."'))
    if method.own_objective and recipe.losses:
        problems.append(problem(("loss",), f"the method {name!r} has its own objective", "remove [loss]"))
    if method.own_objective and recipe.heads and not reads_heads:
        problems.append(problem(("head",), f"the method {name!r} does not train heads", "remove [head]"))
    if method.own_objective and reads_heads and not recipe.heads:
        problems.append(problem(("head",), f"the method {name!r} needs a head", 'add [head] with use = "..."'))
    if recipe.backbone.wiring.train == "none" and method.needs & PIXEL_NEEDS:
        message = f"the method {name!r} reads images, but with a frozen backbone, training reads stored features"
        problems.append(problem((*recipe.backbone.path, "train"), message, 'set train = "all"'))
    return problems
