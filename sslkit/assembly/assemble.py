"""Build all components of a checked recipe and connect them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from sslkit.assembly.build_component import build_component, build_dataset
from sslkit.assembly.build_losses import build_loss, evaluation_head
from sslkit.assembly.build_network import build_network
from sslkit.assembly.build_views import build_views
from sslkit.assembly.initial_network import choose_preprocessing, load_initial_network
from sslkit.assembly.initial_weights import find_weights
from sslkit.assembly.needs import backbone_problems, head_problems, method_class, view_problems, visible_views
from sslkit.assembly.position import Position
from sslkit.assembly.prepare_losses import prepare_losses
from sslkit.assembly.start import Start
from sslkit.assembly.trainable import lr_scales
from sslkit.assembly.training_inputs import OnProgress, connect_inputs
from sslkit.contracts.context import Context, World
from sslkit.contracts.dataset import Dataset, ImageStore, Split
from sslkit.contracts.method import Method, Parts
from sslkit.contracts.optimizer import Optimizer
from sslkit.contracts.preprocessing import Preprocessing
from sslkit.contracts.views import Views
from sslkit.data.loader import Loader
from sslkit.data.placement import is_resident, place_images, should_prefetch
from sslkit.data.seeds import seed_global
from sslkit.device.out_of_memory import explain_out_of_memory
from sslkit.errors import DataError, IncompatibleComponentError, RecipeError
from sslkit.features.frozen import FrozenBackbone
from sslkit.recipe.duration_problems import duration_problems
from sslkit.recipe.recipe import Recipe
from sslkit.runs.run import Run


@dataclass(frozen=True)
class Assembly:
    """All components of a training run, built and connected.

    Attributes:
        recipe: the recipe.
        context: description of the run that components receive.
        dataset: the data set.
        images: the training images.
        loader: iterable of the training batches.
        views: the augmentation policy.
        method: the method, which owns all trained modules.
        optimizer: the optimizer.
        head: name of the head for monitoring and evaluation, or ``""`` if there are no heads.
        notes: sentences about the data and the weights, to print for the user.
        start: the weights or the checkpoint that training starts from.
        position: position at which training starts. In a resumed run, this is the checkpoint's position, converted to
            the new length of the training run.
        preprocessing: image size and normalisation that the view policy receives in its ``context``.
        frozen: the backbone and a cache of its features, if the backbone is frozen; else None.
        positives: result of ``Positives.prepare``, which checkpoints contain.
        lr_scales: multiplier of the learning rate, keyed by parameter name; 1 for all other parameters.
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
    start: Start
    position: Position
    preprocessing: Preprocessing
    frozen: FrozenBackbone | None
    positives: Mapping[str, Tensor]
    lr_scales: Mapping[str, float]

    @property
    def length_changed(self) -> bool:
        """Whether training resumes from a checkpoint with a different number of epochs or steps per epoch."""
        return self.start.position is not None and not self.start.position.same_length(self.position)

    @property
    def epoch_scale(self) -> float:
        """Factor by which to multiply the loss sums of the current epoch if the steps per epoch changed on resuming.

        For example, the factor is 0.5 if an epoch had 100 steps and now has 50: 40 completed steps then count as 20.
        The factor is 1 without a checkpoint, or with a checkpoint at the start of an epoch.
        """
        before = self.start.position.epoch_step if self.start.position is not None else 0
        return self.position.epoch_step / before if before else 1.0


def assemble(
    recipe: Recipe,
    device: str = "cpu",
    world: World | None = None,
    start: Start | None = None,
    on_progress: OnProgress | None = None,
) -> Assembly:
    """Read the data, and build and connect every component. The result is the same in all processes.

    Args:
        recipe: a checked recipe.
        device: device to train on; the images are stored there if they fit.
        world: the processes of the training run; None means one process.
        start: the weights or the checkpoint that training starts from; None means the initial weights of the recipe.
        on_progress: called while features of a frozen backbone are computed, with the number of processed images and
            the total number of images.

    Raises:
        DataError: the images cannot be used.
        RecipeError: components do not fit together, or need more memory than is available.
    """
    world, start = world or World(), start or Start()
    dataset = build_dataset(recipe)
    with explain_out_of_memory(recipe.document, ("data",), "the data set"):
        images, placement_note = place_images(training_images(dataset), device, world.size // recipe.train.nodes)
    loader = _build_loader(recipe, images, world, start.epochs_before)
    position = (start.position or Position(0, 0, 1, 1)).resize(loader.steps_per_epoch, recipe.train.epochs)
    if problems := duration_problems(recipe, position.steps if position.taken <= position.steps else 0):
        raise RecipeError(problems)
    loader.prefetch = should_prefetch(images, device)
    loader.reads_images = not is_resident(images, device)
    weights = find_weights(recipe) if start.restoring == "nothing" else None
    trained_with = weights.preprocessing if weights is not None else start.preprocessing
    preprocessing = choose_preprocessing(images, trained_with)
    context = Context(
        channels=images.shape[0],
        image_size=preprocessing.size,
        mean=preprocessing.mean,
        std=preprocessing.std,
        interpolation=preprocessing.interpolation,
        batch_size=recipe.train.batch_size,
        steps_per_epoch=loader.steps_per_epoch,
        epochs=recipe.train.epochs,
        seed=recipe.run.seed,
        training_images=len(images),
        world=world,
        steps_before=start.steps_before,
        step_offset=position.offset,
        restoring=start.restoring == "everything",
    )
    loader.start, loader.stop, loader.step_offset = position.step, context.total_steps, position.offset
    # Seed only now, so that initial weights do not depend on random numbers drawn while reading the data.
    seed_global(recipe.run.seed)
    context, views, positives = build_views(recipe, context)
    network_context, backbone, heads = build_network(recipe, replace(context, restoring=start.restoring != "nothing"))
    context = replace(network_context, restoring=context.restoring)
    problems = [*backbone_problems(recipe, backbone), *view_problems(recipe, context), *head_problems(recipe, heads)]
    if problems:
        raise RecipeError(problems)
    weights_note = load_initial_network(recipe, start, weights, backbone, heads)
    if positives.needs_features and not weights_note:
        message = f"the positives {recipe.positives.use!r} compare features, but the weights of the backbone are random"
        hint = "set weights of [backbone], or use --continue-from RUN"
        raise RecipeError([recipe.document.problem((*recipe.positives.path, "use"), message, hint)])
    losses = tuple(build_loss(recipe, spec, heads, context) for spec in recipe.losses)
    if losses and all(loss.start_epoch for loss in losses):
        message = "no loss is active in the first epoch: leave start_epoch of one loss at 0"
        raise RecipeError([recipe.document.problem(("loss",), message)])
    unprepared = () if start.restoring == "everything" else tuple(x for x in losses if x.loss.needs_initial_outputs)
    inputs = connect_inputs(
        recipe, loader, images, views, positives, backbone, device,
        losses_need_features=bool(unprepared), saved=start.positives, on_progress=on_progress,
    )  # fmt: skip
    if inputs.features is not None:
        prepare_losses(recipe, unprepared, heads, inputs.features)
    method_context = visible_views(method_class(recipe), context)
    method = build_component(recipe, recipe.method, Method, method_context, Parts(backbone, heads, losses))
    optimizer = build_component(recipe, recipe.optimizer, Optimizer, context)
    if world.rank or start.steps_before:
        # Random numbers in training (dropout) must differ between processes and from those of earlier runs.
        seed_global(recipe.run.seed, world.rank, start.steps_before)
    if start.parent is not None:
        weights_note = _describe_continuation(start.parent, method)
    notes = (placement_note, *dataset.notes(), *([weights_note] if weights_note else ()), *inputs.notes)
    return Assembly(
        recipe=recipe,
        context=context,
        dataset=dataset,
        images=images,
        loader=loader,
        views=views,
        method=method,
        optimizer=optimizer,
        head=evaluation_head(recipe, heads),
        notes=notes,
        start=replace(start, backbone=None, positives=None),  # tensors of the checkpoint
        position=position,
        preprocessing=preprocessing,
        frozen=inputs.frozen,
        positives=inputs.positives,
        lr_scales=lr_scales(backbone, recipe.backbone.wiring),
    )


def _describe_continuation(parent: Run, method: Method) -> str:
    losses = [f"loss {name!r}" for name, loss in method.losses.items() if loss.state_dict()]
    fresh = ["optimizer", "schedule", *(["method"] if method.own_objective else losses)]
    transfer = f"backbone and heads are loaded, {', '.join(fresh[:-1])} and {fresh[-1]} start fresh"
    return f"continues from {parent.name}: {transfer}"


def training_images(dataset: Dataset) -> ImageStore:
    """Return the images of the ``pretrain`` split if the data set has one, else those of ``train``."""
    name = "pretrain" if "pretrain" in dataset.splits else "train"
    split = dataset.load(name)
    if not isinstance(split, Split):
        raise IncompatibleComponentError(
            f"{type(dataset).__name__}.load({name!r}) must return an sslkit.Split, not of type {type(split).__name__}"
        )
    return split.images


def _build_loader(recipe: Recipe, images: ImageStore, world: World, epochs_before: int) -> Loader:
    train = recipe.train
    steps = None if train.steps_per_epoch == "auto" else train.steps_per_epoch
    try:
        return Loader(images, train.batch_size, recipe.run.seed, world.rank, world.size, epochs_before, steps)
    except DataError as error:
        if len(images) < 2:
            raise
        key = "steps_per_epoch" if steps is not None and steps * train.batch_size > len(images) else "batch_size"
        raise RecipeError([recipe.document.problem(("train", key), str(error))]) from error
