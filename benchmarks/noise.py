"""Data set of random images for the benchmarks; it has any number of images and needs no download."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from pydantic import Field

import sslkit
from benchmarks.common import ROOT
from sslkit.data.store import TensorStore
from sslkit.recipe.load import load_recipe
from sslkit.recipe.recipe import Recipe
from sslkit.training.events import Event, Reporter, StepEnded
from sslkit.training.train import train

SWAV = ROOT / "recipes" / "swav.toml"


class Noise(sslkit.Dataset):
    """Data set of unlabelled images of uniform noise."""

    api = 2

    class Options(sslkit.Options):
        images: int = Field(4096, ge=2)
        """Number of images."""
        size: int = Field(32, ge=4)
        """Side of an image in pixels."""

    options: Options

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train",)

    def load(self, split: str) -> sslkit.Split:
        own = self.options
        shape = (own.images, 3, own.size, own.size)
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        return sslkit.Split(TensorStore(pixels))


def noise_recipe(
    *settings: str,
    recipe: Path = SWAV,
    optimizer: str | None = "{use='sgd', lr=0.05}",
    images: int = 4096,
    size: int = 32,
    batch: int = 256,
) -> Recipe:
    """Return a recipe that trains on noise images, without validation metrics or checkpoints.

    Args:
        settings: changes of the recipe, as ``key=value``.
        recipe: file of the recipe.
        optimizer: optimizer that replaces the recipe's optimizer; None keeps the recipe's optimizer.
        images: number of images.
        size: side of an image in pixels.
        batch: images per batch.
    """
    sslkit.register("noise", Noise)
    return load_recipe(
        recipe,
        [
            f"data={{use='noise', images={images}, size={size}}}",
            f"train.batch_size={batch}",
            "train.epochs=1000000",
            "train.checkpoint_every=1000000 epochs",
            "monitor.every_epochs=0",
            "monitor.collapse=off",
            *([] if optimizer is None else [f"optimizer={optimizer}"]),
            *settings,
        ],
    )


class _StepsComplete(BaseException):
    """Exception that stops training after the last step."""


def train_steps(recipe: Recipe, steps: int, after_step: Callable[[], None] = lambda: None) -> None:
    """Train a number of steps with Lightning and all callbacks, then delete the run folder."""

    class StepListener(Reporter):
        def on_event(self, event: Event) -> None:
            if isinstance(event, StepEnded):
                after_step()
                if event.progress.step == steps:
                    raise _StepsComplete

    with tempfile.TemporaryDirectory() as folder, suppress(_StepsComplete):
        train(recipe, Path(folder), StepListener())
