"""Check what a recipe's method and losses need, without reading the images."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import torch

from sslkit.assembly.build_network import build_backbone, build_heads
from sslkit.assembly.build_views import build_views
from sslkit.assembly.needs import ABILITIES, backbone_problems, head_problems, method_class, view_problems
from sslkit.contracts.backbone import Backbone
from sslkit.contracts.context import Context
from sslkit.errors import Problem, RecipeError, SslkitError
from sslkit.recipe.recipe import Recipe

IMAGE_SIZE = 224
"""Assumed side of the images in pixels; a multiple of the usual patch sizes."""

STEPS_PER_EPOCH = 1000
"""Assumed number of steps, if the recipe does not set ``train.steps_per_epoch``."""


def check_needs(recipe: Recipe) -> None:
    """Check that backbone, views and heads provide what the method and the losses need.

    Training makes the same checks. Here, the components are built for RGB images of an assumed size, without pretrained
    weights, and the backbone is built only if the method needs one of its abilities. If a component cannot be built for
    these images, training checks its part of the recipe.

    Raises:
        RecipeError: lists all unmet needs.
    """
    problems: list[Problem] = []
    with _quiet():
        context = _context(recipe)
        with suppress(SslkitError):
            context, _, _ = build_views(recipe, context)
            problems += view_problems(recipe, context)
        if method_class(recipe).needs & ABILITIES.keys():
            with suppress(SslkitError):
                backbone = _build_backbone(recipe, context)
                context = replace(context, feature_dim=backbone.feature_dim)
                problems += backbone_problems(recipe, backbone)
        with suppress(SslkitError):
            problems += head_problems(recipe, build_heads(recipe, context))
    if problems:
        raise RecipeError(sorted(problems, key=lambda problem: (problem.source, problem.line)))


def _context(recipe: Recipe) -> Context:
    train = recipe.train
    steps = STEPS_PER_EPOCH if train.steps_per_epoch == "auto" else train.steps_per_epoch
    return Context(
        channels=3,
        image_size=IMAGE_SIZE,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        batch_size=train.batch_size,
        steps_per_epoch=steps,
        epochs=train.epochs,
        seed=recipe.run.seed,
        training_images=steps * train.batch_size,
        view_size=IMAGE_SIZE,
        view_sizes=(IMAGE_SIZE,),
        feature_dim=512,
        restoring=True,  # no download of pretrained weights
    )


def _build_backbone(recipe: Recipe, context: Context) -> Backbone:
    """Build the backbone without memory for its weights if it allows this, because drawing weights takes seconds."""
    with suppress(SslkitError), torch.device("meta"):
        return build_backbone(recipe, context)
    return build_backbone(recipe, context)


@contextmanager
def _quiet() -> Iterator[None]:
    """Restore torch's random state, and ignore warnings of components about the assumed images."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
