"""Builds what a checked recipe names and wires it together, in the order that each part needs the one before."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.context import Context, World
from sslkit.contracts.dataset import Dataset, ImageStore
from sslkit.contracts.head import Head
from sslkit.contracts.loss import Loss
from sslkit.contracts.method import Method, Parts, WeightedLoss
from sslkit.contracts.optimizer import Optimizer
from sslkit.contracts.views import Views
from sslkit.data.loader import Loader
from sslkit.data.placement import place, streams
from sslkit.data.seeds import seed_global
from sslkit.device.out_of_memory import first_line, fitting, is_out_of_memory
from sslkit.errors import (
    BrokenComponentError,
    DataError,
    IncompatibleComponentError,
    OptionError,
    RecipeError,
    SslkitError,
)
from sslkit.recipe.model import Recipe, Selected, Trained

STATISTICS_IMAGES = 10_000
"""Images, spread evenly over all, that mean and standard deviation are measured on."""

STATISTICS_BYTES = 32 << 20
"""Of images that are widened to float64 at a time, which takes eight times as much."""

Restoring = Literal["nothing", "network", "everything"]

Built = TypeVar("Built")


@dataclass(frozen=True)
class Assembly:
    """Everything a training needs.

    Attributes:
        recipe: the recipe.
        context: runtime facts.
        dataset: the data set.
        images: what is trained on.
        loader: its batches.
        views: the augmentation policy.
        method: the method, which owns all trained modules.
        optimizer: the optimizer.
        head: name of the head that monitors and evaluation use; empty without heads.
        notes: what a user should know about the data, in sentences.
    """

    recipe: Recipe
    context: Context
    dataset: Dataset
    images: ImageStore
    loader: Loader
    views: Views
    method: Method
    optimizer: Optimizer
    head: str
    notes: tuple[str, ...]


def construct(recipe: Trained, selected: Selected, kind: type[Built], *arguments: Any) -> Built:
    """Build one component.

    Raises:
        RecipeError: it refuses one of its options here, or there is not enough memory for them.
        BrokenComponentError: its constructor fails otherwise.
    """
    build: Callable[..., Any] = selected.component
    try:
        built = build(selected.options, *arguments)
    except OptionError as error:
        raise recipe.failure(selected, error) from error
    except SslkitError:
        raise
    except Exception as error:
        message = (
            f"{selected.entry}: building it fails with {type(error).__name__}: {first_line(error)}; "
            f"this is a fault of {selected.entry.distribution} or of its options"
        )
        problem = recipe.document.problem(selected.path, message)
        if is_out_of_memory(error) or isinstance(error, OverflowError):
            raise RecipeError([problem]) from error  # what sizes lead to that each option allows, but nothing can hold
        raise BrokenComponentError(str(problem)) from error
    assert isinstance(built, kind)
    return built


def build_dataset(recipe: Trained) -> Dataset:
    """The data set; reads no image yet."""
    return construct(recipe, recipe.data, Dataset)


def training_images(dataset: Dataset) -> ImageStore:
    """What is trained on without labels: the split ``pretrain`` where there is one, else ``train``."""
    return dataset.load("pretrain" if "pretrain" in dataset.splits else "train").images


def statistics(images: ImageStore) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per-channel mean and standard deviation in 0..1, the latter at least one grey level."""
    count = min(len(images), STATISTICS_IMAGES)
    places = torch.linspace(0, len(images) - 1, count, dtype=torch.float64).round().long()
    total = torch.zeros(images.shape[0], dtype=torch.float64)
    squares = torch.zeros(images.shape[0], dtype=torch.float64)
    for block in places.split(max(1, min(1000, STATISTICS_BYTES // math.prod(images.shape)))):
        found = images.gather(block)
        # Apple's processors have no float64.
        pixels = (found.cpu() if found.device.type == "mps" else found).double() / 255
        total += pixels.mean(dim=(2, 3)).sum(0).cpu()
        squares += pixels.square().mean(dim=(2, 3)).sum(0).cpu()
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=0).sqrt().clamp(min=1 / 255)
    return tuple(mean.tolist()), tuple(std.tolist())


def build_network(recipe: Trained, context: Context) -> tuple[Context, Backbone, dict[str, Head]]:
    """Backbone and heads, freshly initialised, and the context with what they settled."""
    backbone = construct(recipe, recipe.backbone, Backbone, context)
    _require(recipe.backbone, backbone, "feature_dim")
    _require_tensors(recipe.backbone, backbone)
    context = replace(context, feature_dim=backbone.feature_dim)
    heads = {head.name: construct(recipe, head, Head, context) for head in recipe.heads}
    for selected in recipe.heads:
        _require(selected, heads[selected.name], "embedding_dim")
        _require_tensors(selected, heads[selected.name])
    return context, backbone, heads


def _require(selected: Selected, built: object, attribute: str) -> None:
    value = getattr(built, attribute, None)
    if not isinstance(value, int) or value < 1:
        raise IncompatibleComponentError(f"{selected.entry}: its {attribute} must be a positive integer, not {value!r}")


def _require_tensors(selected: Selected, built: nn.Module) -> None:
    """What is written as weights, when days of training are over."""
    other = [name for name, value in built.state_dict().items() if not isinstance(value, Tensor)]
    if other:
        raise IncompatibleComponentError(
            f"{selected.entry}: its state holds {other[0]}, which is no tensor: trained weights are written as tensors "
            "alone, so keep it as a buffer"
        )


def _loss(recipe: Recipe, selected: Selected, heads: dict[str, Head], context: Context) -> WeightedLoss:
    name = selected.place.head or next(iter(heads), "")
    head = heads.get(name)
    needs = selected.component.needs if issubclass(selected.component, Loss) else frozenset()
    lacking = ""
    if head is None and needs & {"embeddings", "logits"}:
        lacking = f"needs {' and '.join(sorted(needs - {'features', 'teacher'}))}, but the recipe has no [head]"
    elif head is not None and "logits" in needs and not head.classifiers:
        lacking = f"needs logits, but the head {name!r} has no classifiers"
    elif "teacher" in needs and "teacher" not in getattr(recipe.method.component, "branches", ()):
        lacking = (
            f"needs a teacher, but the method {recipe.method.entry.name!r} has none; "
            f'[method] use = "momentum-teacher" has one'
        )
    if lacking:
        message = f"the loss {selected.use!r} {lacking}"
        raise RecipeError([recipe.document.problem((*selected.path, "use"), message)])
    own = replace(
        context,
        embedding_dim=head.embedding_dim if head is not None else 0,
        classifiers=tuple(head.classifiers) if head is not None else (),
    )
    place = selected.place
    if place.start_epoch >= recipe.train.epochs:
        message = f"this loss never joins: training ends after {recipe.train.epochs} epochs"
        raise RecipeError([recipe.document.problem((*selected.path, "start_epoch"), message)])
    return WeightedLoss(selected.name, construct(recipe, selected, Loss, own), place.weight, name, place.start_epoch)


def assemble(
    recipe: Recipe,
    device: str = "cpu",
    world: World | None = None,
    steps_before: int = 0,
    restoring: Restoring = "nothing",
) -> Assembly:
    """Read the data, to the device where they fit, and build everything; the same in every process of the world.

    Args:
        recipe: a checked recipe.
        device: where it is trained.
        world: the processes that train together.
        steps_before: optimizer steps of the runs that this one continues.
        restoring: what trained weights are about to be loaded into: backbone and heads, or losses and method too.

    Raises:
        DataError: the images cannot be used.
        RecipeError: the recipe's parts do not fit each other, the data or the memory.
    """
    world = world or World()
    dataset = build_dataset(recipe)
    with fitting(recipe.document, ("data",), "the data set"):
        images, where = place(training_images(dataset), device, world.size // recipe.train.nodes)
    loader = _loader(recipe, images, world, steps_before)
    loader.streamed = streams(images, device)
    loader.pinned = loader.streamed and device == "cuda"
    mean, std = statistics(images)
    context = Context(
        channels=images.shape[0],
        image_size=min(images.shape[1:]),
        mean=mean,
        std=std,
        batch_size=recipe.train.batch_size,
        steps_per_epoch=loader.steps_per_epoch,
        epochs=recipe.train.epochs,
        seed=recipe.run.seed,
        world=world,
        steps_before=steps_before,
        restoring=restoring == "everything",
    )
    loader.stop = context.total_steps
    # Only now: however the data were read, and whatever they drew, the network starts from the same weights.
    seed_global(recipe.run.seed)
    views = construct(recipe, recipe.views, Views, context)
    context = replace(context, view_size=views.size, view_count=views.count, global_view_count=views.global_views)
    found, backbone, heads = build_network(recipe, replace(context, restoring=restoring != "nothing"))
    context = replace(found, restoring=context.restoring)
    losses = tuple(_loss(recipe, selected, heads, context) for selected in recipe.losses)
    if losses and all(item.start_epoch for item in losses):
        message = "there must be a loss to begin with: leave start_epoch of one at 0"
        raise RecipeError([recipe.document.problem(("loss",), message)])
    method = construct(recipe, recipe.method, Method, context, Parts(backbone, heads, losses))
    optimizer = construct(recipe, recipe.optimizer, Optimizer, context)
    if world.rank or steps_before:
        # What is drawn while training, by dropout say, is each process's own, and not again what was drawn before.
        seed_global(recipe.run.seed, world.rank, steps_before)
    notes = (where, *dataset.notes())
    head = _run_head(recipe, heads)
    return Assembly(recipe, context, dataset, images, loader, views, method, optimizer, head, notes)


def _loader(recipe: Recipe, images: ImageStore, world: World, steps_before: int) -> Loader:
    try:
        return Loader(images, recipe.train.batch_size, recipe.run.seed, world.rank, world.size, steps_before)
    except DataError as error:
        if len(images) < 2:
            raise
        raise RecipeError([recipe.document.problem(("train", "batch_size"), str(error))]) from error


def _run_head(recipe: Recipe, heads: dict[str, Head]) -> str:
    """Name of the head that monitors and evaluation use: the recipe's choice, else the first that a loss reads."""
    read = [loss.place.head or next(iter(heads), "") for loss in recipe.losses]
    name = recipe.evaluation.head or next((name for name in heads if name in read), next(iter(heads), ""))
    if recipe.evaluation.head and name not in read:
        message = f"no loss reads the head {name!r}: it stays as it was initialised"
        raise RecipeError([recipe.document.problem(("evaluation", "head"), message)])
    chosen = recipe.evaluation.classifier
    count = len(heads[name].classifiers) if name else 0
    if isinstance(chosen, int) and count and chosen >= count:
        message = f"must be 0 to {count - 1}, the places of the head's classifiers; found {chosen}"
        raise RecipeError([recipe.document.problem(("evaluation", "classifier"), message)])
    return name
