"""Images of noise for the benchmarks: a data set that recipes may name, as many as asked and without a download."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

import sslkit
from sslkit.data.store import TensorStore
from sslkit.recipe.load import load_recipe
from sslkit.training.events import Event, Reporter, StepEnded
from sslkit.training.train import train

SWAV = Path(__file__).parents[1] / "recipes" / "swav.toml"


class Noise(sslkit.Dataset):
    """Unlabelled images of uniform noise."""

    api = 1

    class Options(sslkit.Options):
        images: int = Field(4096, ge=2)
        """How many."""
        size: int = Field(32, ge=4)
        """Side in pixels."""

    options: Options

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train",)

    def load(self, split: str) -> sslkit.Split:
        own = self.options
        shape = (own.images, 3, own.size, own.size)
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        return sslkit.Split(TensorStore(pixels))


def recipe(*settings: str, images: int = 4096, size: int = 32, batch: int = 256) -> Any:
    """SwAV as the repository has it, on noise, with SGD; neither monitors nor checkpoints while it is measured."""
    sslkit.register("noise", Noise)
    return load_recipe(
        SWAV,
        [
            f"data={{use='noise', images={images}, size={size}}}",
            f"train.batch_size={batch}",
            "train.epochs=1000000",
            "train.checkpoint_every=1000000 epochs",
            "monitor.every_epochs=0",
            "monitor.collapse=off",
            "optimizer={use='sgd', lr=0.05}",
            *settings,
        ],
    )


class _Enough(BaseException):
    """So many steps were asked for."""


def train_some(own: Any, steps: int, after_step: Callable[[], None] = lambda: None) -> None:
    """The first steps of a training, with everything; its run folder is dropped."""

    class StepListener(Reporter):
        def on_event(self, event: Event) -> None:
            if isinstance(event, StepEnded):
                after_step()
                if event.progress.step == steps:
                    raise _Enough

    with tempfile.TemporaryDirectory() as folder, suppress(_Enough):
        train(own, Path(folder), StepListener())
