"""Inputs of a training step: positives, and either images or the features of a frozen backbone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from sslkit.assembly.start import SavedPositives
from sslkit.assembly.stored_views import FeatureStore, store_views
from sslkit.contracts.backbone import Backbone
from sslkit.contracts.dataset import ImageStore
from sslkit.contracts.positives import Positives
from sslkit.contracts.views import Views
from sslkit.data.loader import Loader
from sslkit.data.placement import fits_memory
from sslkit.device.hardware import prefers_channels_last
from sslkit.errors import InputError, RecipeError
from sslkit.features.frozen import FrozenBackbone
from sslkit.recipe.recipe import Recipe

OnProgress = Callable[[int, int], None]
"""Function that receives the number of images whose features are computed, and the total number of images."""


@dataclass(frozen=True)
class TrainingInputs:
    """Inputs of training in addition to the images.

    Attributes:
        frozen: the frozen backbone and a cache of its features, or None if the backbone is trained.
        positives: result of ``Positives.prepare``; saved in checkpoints.
        features: features ``[N, D]`` of the unaugmented training images, on the CPU, or None if nothing needs them.
        notes: sentences about the features and their cache, to print for the user.
    """

    frozen: FrozenBackbone | None
    positives: Mapping[str, Tensor]
    features: Tensor | None
    notes: tuple[str, ...] = ()


def connect_inputs(
    recipe: Recipe,
    loader: Loader,
    images: ImageStore,
    views: Views,
    positives: Positives,
    backbone: Backbone,
    device: str,
    *,
    losses_need_features: bool,
    saved: SavedPositives | None,
    on_progress: OnProgress | None,
) -> TrainingInputs:
    """Compute the features that training needs, and make the loader yield these features and the positives.

    Args:
        recipe: the recipe.
        loader: the loader of the training images, changed to yield features instead if the backbone is frozen.
        images: the training images.
        views: the view policy.
        positives: the rule that chooses positives.
        backbone: the backbone with its initial weights.
        device: device that computes features.
        losses_need_features: whether losses need the features of the unaugmented training images.
        saved: state of the rule that chooses positives, from a checkpoint, or None if there is no checkpoint.
        on_progress: called while features are computed, with the number of processed images and the total number of
            images.

    Raises:
        RecipeError: positives cannot be chosen among these images.
    """
    is_frozen = recipe.backbone.wiring.train == "none"
    prepared = saved.prepared if saved is not None and saved.images == len(images) else None
    if prepared is None and saved is not None and positives.needs_features and not is_frozen:
        message = (
            f"the run's positives were chosen among {saved.images} images, but there are {len(images)} now: "
            "use --continue-from to start a new run"
        )
        raise RecipeError([recipe.document.problem((*recipe.positives.path, "use"), message)])
    positives_need_features = positives.needs_features and prepared is None
    needs_features = positives_need_features or losses_need_features
    if is_frozen or needs_features:  # features are computed before training starts
        if prefers_channels_last(device):
            backbone.to(memory_format=torch.channels_last)
        backbone.to(device)
    frozen = FrozenBackbone(backbone, views.preprocessing, recipe.backbone.identity, on_progress)
    features = frozen.features(images) if needs_features else None
    if prepared is None:
        try:
            known = features if positives_need_features and features is not None else torch.empty(0, 0)
            prepared = dict(positives.prepare(known))
        except InputError as error:
            raise RecipeError([recipe.document.problem((*recipe.positives.path, "use"), str(error))]) from error
    if positives.count:
        loader.draw_positives = partial(positives.draw, prepared)
    if not is_frozen:
        return TrainingInputs(None, prepared, features)
    rows = store_views(frozen, images, views, recipe.views, recipe.run.seed)
    resident = device == "cpu" or fits_memory(rows.nbytes, device)
    loader.images = FeatureStore(rows.to(device) if resident else rows)
    loader.prefetch = loader.reads_images = not resident
    count, views_per_image, width = rows.shape
    size = f"{rows.nbytes / 1e6:.0f} MB"
    views_text = "1 view" if views_per_image == 1 else f"{views_per_image} views"
    note = f"frozen backbone: features of {count} images, {views_text} of {width} values ({size})"
    return TrainingInputs(frozen, prepared, features, (note, *frozen.notes))
