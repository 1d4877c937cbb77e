"""Choose the number of classes of a proposed recipe from the features of the frozen backbone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from sslkit.assembly.assemble import assemble
from sslkit.features.class_count import ClassCountProposal
from sslkit.files import to_json, write_atomic
from sslkit.recipe.recipe import Recipe
from sslkit.runs.run import CLASS_COUNT_FILE

AFFORDABLE_SECONDS = 600.0
"""Longest estimated time, in seconds, for which ``sslkit init`` computes features without being asked."""


def training_features(recipe: Recipe, device: str, on_progress: Callable[[int, int], None]) -> Tensor:
    """Return the features ``[N, D]`` of the training images, and cache them for training.

    Args:
        recipe: a recipe with a frozen backbone.
        device: device that computes features.
        on_progress: called with the number of processed images and the total number of images.
    """
    assembly = assemble(recipe, device, on_progress=on_progress)
    assert assembly.frozen is not None
    return assembly.frozen.features(assembly.images)


def write_class_count(proposal: ClassCountProposal, recipe: Path) -> Path:
    """Write the scores of each candidate number of classes to a file next to a recipe; return the file's path."""
    path = recipe.parent / CLASS_COUNT_FILE
    write_atomic(path, to_json(proposal.as_json()))
    return path
