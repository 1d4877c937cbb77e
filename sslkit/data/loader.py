"""The loader: whole batches in a seeded order, from any step on, each process its own part."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from sslkit.contracts.dataset import ImageStore
from sslkit.data.prefetch import prefetch
from sslkit.data.seeds import seeded_generator
from sslkit.errors import DataError

AHEAD = 2
"""Batches that are fetched before they are asked for, where images are streamed."""


class ImageBatch(NamedTuple):
    """This process's part of a global batch.

    Attributes:
        images: uint8 ``[B, C, H, W]``.
        indices: int64 ``[B]``, the images' places in the store.
    """

    images: Tensor
    indices: Tensor


class Loader:
    """Yields the batches of every step from ``start`` to ``stop``.

    The batch of a step is a function of seed and step alone: each epoch is one permutation of all images, cut into
    global batches (the rest that fills no batch is left out of that epoch), each of which is cut into equal parts
    for the processes.  Resuming therefore needs no more than the step.  A run that continues another counts its epochs
    from where that one ended, so that it sees other batches.

    Args:
        images: what is trained on.
        batch_size: images in a global batch.
        seed: the run's seed.
        rank: place of this process.
        processes: number of processes.
        steps_before: optimizer steps of the runs that are continued.

    Raises:
        DataError: there are fewer images than one batch holds or than two, or the processes cannot share a batch
            equally.
    """

    def __init__(
        self,
        images: ImageStore,
        batch_size: int,
        seed: int,
        rank: int = 0,
        processes: int = 1,
        steps_before: int = 0,
    ) -> None:
        if len(images) < 2:
            raise DataError(f"there are {len(images)} training images: training compares images, it needs many")
        if len(images) < batch_size:
            raise DataError(
                f"there are {len(images)} training images, fewer than one batch of {batch_size}: "
                f"set train.batch_size to at most {len(images)}"
            )
        if batch_size % processes:
            raise DataError(
                f"a batch of {batch_size} images cannot be shared equally by {processes} processes: "
                f"set train.batch_size to a multiple of {processes}"
            )
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self.epochs_before = -(-steps_before // self.steps_per_epoch)
        self.rank = rank
        self.part = batch_size // processes
        self.start = 0
        self.stop = 0
        self.begun = False
        """Whether batches were asked for."""
        self.seconds = 0.0
        """Time spent waiting for batches so far."""
        self.streamed = False
        """Whether batches are fetched by another thread, ``AHEAD`` of them before they are asked for."""
        self.pinned = False
        """Whether batches are put where a GPU can copy them from while it works."""

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one epoch."""
        return len(self.images) // self.batch_size

    def order(self, epoch: int) -> Tensor:
        """int64 permutation of all images in one epoch."""
        stream = seeded_generator(self.seed, "order", self.epochs_before + epoch)
        return torch.randperm(len(self.images), generator=stream)

    def __iter__(self) -> Iterator[ImageBatch]:
        self.begun = True
        batches = prefetch(self._batches(), AHEAD) if self.streamed else self._batches()
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            self.seconds += time.perf_counter() - began
            if batch is None:
                return
            yield batch

    def _batches(self) -> Iterator[ImageBatch]:
        order, epoch = torch.empty(0, dtype=torch.int64), -1
        for step in range(self.start, self.stop):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                order = self.order(epoch)
            first = (step % self.steps_per_epoch) * self.batch_size + self.rank * self.part
            index = order[first : first + self.part]
            try:
                images = self.images.gather(index)
            except OSError as error:
                where = f" ({error.filename})" if error.filename else ""
                raise DataError(
                    f"the images of step {step + 1} cannot be read: {error.strerror or error}{where}; "
                    "once they can, `sslkit resume` goes on from the last checkpoint"
                ) from error
            yield ImageBatch(images.pin_memory() if self.pinned else images, index)
