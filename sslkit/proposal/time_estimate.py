"""Estimate how long a recipe with a frozen backbone takes on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from sslkit.assembly.assemble import Assembly, assemble
from sslkit.contracts.dataset import Dataset, Split
from sslkit.contracts.method import Batch
from sslkit.contracts.options import Options
from sslkit.data.image_files import decode_image
from sslkit.data.store import TensorStore
from sslkit.data.threads import map_in_threads
from sslkit.data.unreadable_images import UnreadableImageError
from sslkit.features.extraction import extract_features
from sslkit.optimizers.parameter_groups import parameter_groups
from sslkit.recipe.recipe import Recipe

SAMPLE = 32
"""Number of images whose features are computed for the estimate."""

MEASURED_STEPS = 5
"""Number of optimizer steps for the estimate."""

OVERHEAD = 0.02
"""Seconds that a step takes in addition to its computations: loader, training loop and metrics."""


@dataclass(frozen=True)
class TimeEstimate:
    """Estimated time of a recipe with a frozen backbone.

    Attributes:
        feature_seconds: seconds needed to read all images and compute their features.
        training_seconds: seconds needed for all optimizer steps together.
    """

    feature_seconds: float
    training_seconds: float


def estimate_time(recipe: Recipe, files: Sequence[Path], device: str) -> TimeEstimate:
    """Time feature extraction for a few images and a few training steps, and estimate the total times.

    Args:
        recipe: a recipe for an image folder, with a frozen backbone.
        files: the training images.
        device: device to train on.
    """
    options: Any = recipe.data.options
    side = 256 if options.size == "auto" else int(options.size)
    chosen = [files[index * len(files) // SAMPLE] for index in range(SAMPLE)] if len(files) > SAMPLE else list(files)

    def decode(file: Path) -> torch.Tensor | None:
        try:
            return torch.tensor(decode_image(file, options.channels, (side, side), "image").pixels)
        except UnreadableImageError:
            return None

    decoded, reading = _timed(lambda: list(map_in_threads(decode, chosen)))
    images = torch.stack([image for image in decoded if image is not None])
    assembly = _assemble_sample(recipe, images, device)
    store, preprocessing = TensorStore(images), assembly.views.preprocessing
    extract_features(assembly.method.backbone, store, preprocessing, indices=torch.arange(2))  # warm up
    features, extracting = _timed(lambda: extract_features(assembly.method.backbone, store, preprocessing))
    batch_size = recipe.train.batch_size
    steps = max(1, len(files) // batch_size) * recipe.train.epochs
    step = _step_seconds(assembly, batch_size, features.shape[1], device)
    per_image = (reading + extracting) / len(images)
    return TimeEstimate(per_image * len(files), steps * (step + OVERHEAD))


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def _assemble_sample(recipe: Recipe, images: torch.Tensor, device: str) -> Assembly:
    """Build and connect all components of a recipe, with a few images instead of the recipe's data set."""
    count = len(images)

    class Sample(Dataset):
        splits = ("train",)

        def load(self, split: str) -> Split:
            return Split(TensorStore(images.repeat(-(-8 // count), 1, 1, 1)), None)

    data = replace(recipe.data, component=Sample, options=Options())
    positives = replace(recipe.positives, options=recipe.positives.options.model_copy(update={"k": 1}))
    train = recipe.train.model_copy(update={"batch_size": 4})
    return assemble(replace(recipe, data=data, positives=positives, train=train), device)


def _step_seconds(assembly: Assembly, batch_size: int, width: int, device: str) -> float:
    """Return the median duration, in seconds, of an optimizer step on random features of length ``width``."""
    context, method = assembly.context, assembly.method.to(device).train()
    optimizer = assembly.optimizer.build(parameter_groups(method, assembly.lr_scales))
    views = torch.randn(context.view_count, batch_size, width, device=device)
    index = torch.arange(batch_size, device=device)

    def step() -> float:
        output = method(Batch((views,), context.global_view_count, index, 0, 0))
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        return float(output.loss.detach())

    step()
    return median(_timed(step)[1] for _ in range(MEASURED_STEPS))
