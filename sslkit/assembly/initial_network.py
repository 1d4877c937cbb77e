"""Initial network of a training run: load weights, and freeze the parts that are not trained."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import cycle, islice

from torch import nn

from sslkit.assembly.channel_statistics import channel_statistics
from sslkit.assembly.initial_weights import InitialWeights
from sslkit.assembly.start import Start
from sslkit.assembly.trainable import freeze
from sslkit.contracts.backbone import Backbone
from sslkit.contracts.dataset import ImageStore
from sslkit.contracts.head import Head
from sslkit.contracts.preprocessing import Preprocessing
from sslkit.errors import InputError, RecipeError
from sslkit.recipe.recipe import Recipe
from sslkit.runs.weights import load_weights


def choose_preprocessing(images: ImageStore, given: Preprocessing | None) -> Preprocessing:
    """Choose image size, mean and standard deviation for training: those of the weights, or else those of the images.

    For greyscale images, the mean and standard deviation of the weights are unchanged, because normalisation copies the
    single channel to each channel that the weights expect. For any other number of channels that differs from that of
    the weights, they are repeated cyclically.

    Args:
        images: the training images.
        given: the preprocessing that the weights were trained with, or None if it is unknown.
    """
    channels = images.shape[0]
    if given is None:
        mean, std = channel_statistics(images)
        return Preprocessing(min(images.shape[1:]), mean, std)
    if channels in (1, len(given.mean)):
        return given
    mean, std = (tuple(islice(cycle(values), channels)) for values in (given.mean, given.std))
    return replace(given, mean=mean, std=std)


def load_initial_network(
    recipe: Recipe, start: Start, weights: InitialWeights | None, backbone: Backbone, heads: dict[str, Head]
) -> str:
    """Load the weights that training starts from, and freeze the parts that are not trained.

    Returns:
        A sentence about the weights, or ``""`` for random weights.

    Raises:
        RecipeError: the weights that the recipe names cannot be used, or ``train`` of ``[backbone]`` does not fit the
            backbone.
        RunError: the weights of the parent run do not fit the recipe.
    """
    path, note = recipe.backbone.path, ""
    if start.restoring == "everything":
        note = "weights: those of the checkpoint"
        if recipe.backbone.wiring.train == "none":
            # The checkpoint is compared with the recipe later, which explains why it does not fit.
            with suppress(RuntimeError):
                backbone.load_state_dict(dict(start.backbone or {}))
    elif start.parent is not None:
        load_weights(backbone, start.parent.backbone)
        load_weights(nn.ModuleList(heads.values()), start.parent.heads)
        note = f"weights: backbone and heads of {start.parent.name}"
    elif weights is not None:
        try:
            note = f"weights: {weights.load(backbone)}"
        except InputError as error:
            raise RecipeError([recipe.document.problem((*path, "weights"), str(error))]) from error
    try:
        freeze(backbone, recipe.backbone.wiring.train)
    except InputError as error:
        raise RecipeError([recipe.document.problem((*path, "train"), str(error))]) from error
    return note
