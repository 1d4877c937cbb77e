"""Give losses the outputs of the initial network for all training images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sslkit.contracts.head import Head
from sslkit.contracts.loss import BranchOutputs
from sslkit.contracts.method import WeightedLoss
from sslkit.errors import InputError, RecipeError
from sslkit.features.extraction import device_of, eval_mode
from sslkit.recipe.recipe import Recipe

BATCH_SIZE = 4096
"""Number of images that a head processes at a time."""


def prepare_losses(recipe: Recipe, losses: Sequence[WeightedLoss], heads: Mapping[str, Head], features: Tensor) -> None:
    """Compute the outputs of the initial network, and pass them to ``prepare`` of each loss.

    Args:
        recipe: the recipe.
        losses: losses that need the outputs of the initial network.
        heads: mapping from name to head; the heads have their initial weights.
        features: float32 tensor ``[N, D]`` on the CPU, features of the unaugmented training images.

    Raises:
        RecipeError: a loss cannot be used with these images.
    """
    for item in losses:
        try:
            item.loss.prepare(_outputs(heads.get(item.head), features))
        except InputError as error:
            (spec,) = (spec for spec in recipe.losses if spec.name == item.name)
            raise RecipeError([recipe.document.problem((*spec.path, "use"), str(error))]) from error


def _outputs(head: Head | None, features: Tensor) -> BranchOutputs:
    """Return the features of all images and the head's outputs, if any, on the CPU; each image has a single view."""
    if head is None:
        return BranchOutputs((features,))
    device = device_of(head)
    with eval_mode(head):
        blocks = [head(block.to(device)) for block in features.split(BATCH_SIZE)]
        embedding = torch.cat([block.embedding.float().cpu() for block in blocks])
        by_classifier = zip(*(block.logits for block in blocks), strict=True)
        logits = [torch.cat([part.float().cpu() for part in parts]) for parts in by_classifier]
    return BranchOutputs((features,), (embedding,), tuple((each,) for each in logits))
