"""Loader of batches in a seeded order, starting at any step and divided among the processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from sslkit.data.seeds import seeded_generator
from sslkit.data.threads import prefetch
from sslkit.errors import DataError

PREFETCH_BATCHES = 2
"""Number of batches to fetch in advance if the loader prefetches."""


class ImageBatch(NamedTuple):
    """This process's part of a global batch.

    Attributes:
        indices: int64 ``[B]`` on the CPU, indices of the images in the store.
        positives: int64 ``[B, P]`` on the CPU, indices of the P positives of each image, or None without positives.
        images: uint8 ``[B, C, H, W]``; with a frozen backbone, features ``[B, V, D]`` of V views. None if the training
            step reads the images itself.
        positive_images: ``[B, P, ...]``, the positives in the format of ``images``; None if ``positives`` or ``images``
            is None.
    """

    indices: Tensor
    positives: Tensor | None = None
    images: Tensor | None = None
    positive_images: Tensor | None = None


class Rows(Protocol):
    """Images, or features of images, read in batches."""

    def __len__(self) -> int: ...

    def gather(self, index: Tensor) -> Tensor:
        """Return the rows ``[B, ...]`` at int64 indices ``[B]``."""


def gather_rows(rows: Rows, index: Tensor) -> Tensor:
    """Return the rows at int64 indices of any shape, as a tensor ``[*index.shape, ...]``."""
    flat = rows.gather(index.flatten())
    return flat.reshape(*index.shape, *flat.shape[1:])


DrawPositives = Callable[[Tensor, torch.Generator], Tensor]
"""Function from indices ``[B]`` of a global batch to the indices of their positives ``[B, P]``, int64."""


class Loader:
    """Iterable over the batches of the steps ``start`` to ``stop`` - 1.

    A batch depends on seed and step alone, so resuming needs only the step. Each pass is a permutation of all images,
    cut into global batches. The last images of a pass are left out if they do not fill a batch. Each global batch is
    cut into equal parts, one per process. A run that continues a parent run also counts the parent's epochs, so the
    batches of the two runs differ. The order of a pass does not depend on the batch size. An epoch is a pass, or a
    number of steps that is smaller than a pass.

    Args:
        images: training images, or their features.
        batch_size: images in a global batch.
        seed: the run's seed.
        rank: rank of this process.
        processes: number of processes.
        epochs_before: number of epochs of the runs that this run continues.
        steps_per_epoch: number of steps in an epoch; None means those of a pass over all images.

    Attributes:
        start: first step.
        stop: step after the final step.
        step_offset: number of optimizer steps minus number of loader steps, to name optimizer steps in messages. The
            numbers differ if the run was resumed with a different batch size or number of images.
        started: whether iteration has started.
        steps_per_pass: number of full batches in a pass over all images.
        steps_per_epoch: number of steps in an epoch.
        wait_seconds: total time spent waiting for batches, in seconds.
        prefetch: whether a background thread fetches ``PREFETCH_BATCHES`` batches in advance.
        draw_positives: function that draws the positives of a global batch, or None if there are none.
        reads_images: whether batches contain images. False if the images are on the training device, where the training
            step reads them.

    Raises:
        DataError: there are fewer than two images or too few for one batch, the batch cannot be divided equally among
            the processes, or an epoch has more steps than a pass.
    """

    def __init__(
        self,
        images: Rows,
        batch_size: int,
        seed: int,
        rank: int = 0,
        processes: int = 1,
        epochs_before: int = 0,
        steps_per_epoch: int | None = None,
    ) -> None:
        if len(images) < 2:
            raise DataError(
                f"there are {len(images)} training images: training compares images with each other. Add more images."
            )
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
        self.steps_per_pass = len(images) // batch_size
        self.steps_per_epoch = steps_per_epoch or self.steps_per_pass
        if self.steps_per_epoch > self.steps_per_pass:
            raise DataError(
                f"{len(images)} training images have {self.steps_per_pass} batches of {batch_size}, fewer than the "
                f"{steps_per_epoch} steps of an epoch: set train.steps_per_epoch to at most {self.steps_per_pass}"
            )
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self.epochs_before = epochs_before
        self.rank = rank
        self.local_batch_size = batch_size // processes
        self.start = 0
        self.stop = 0
        self.step_offset = 0
        self.started = False
        self.wait_seconds = 0.0
        self.prefetch = False
        self.reads_images = True
        self.draw_positives: DrawPositives | None = None

    def order(self, number: int) -> Tensor:
        """Return the int64 permutation of all images in pass ``number``, counted from 0."""
        stream = seeded_generator(self.seed, "order", self.epochs_before + number)
        return torch.randperm(len(self.images), generator=stream)

    def __iter__(self) -> Iterator[ImageBatch]:
        self.started = True
        batches = prefetch(self._batches(), PREFETCH_BATCHES) if self.prefetch else self._batches()
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            self.wait_seconds += time.perf_counter() - asked
            if batch is None:
                return
            yield batch

    def _batches(self) -> Iterator[ImageBatch]:
        order, number = torch.empty(0, dtype=torch.int64), -1
        for step in range(self.start, self.stop):
            if step // self.steps_per_pass != number:
                number = step // self.steps_per_pass
                order = self.order(number)
            first = (step % self.steps_per_pass) * self.batch_size
            of_all_processes = order[first : first + self.batch_size]
            own = slice(self.rank * self.local_batch_size, (self.rank + 1) * self.local_batch_size)
            indices, positives = of_all_processes[own], None
            if self.draw_positives is not None:
                stream = seeded_generator(self.seed, "positives", self.epochs_before, step)
                positives = self.draw_positives(of_all_processes, stream)[own]
            if not self.reads_images:
                yield ImageBatch(indices, positives)
                continue
            try:
                yield ImageBatch(
                    indices,
                    positives,
                    gather_rows(self.images, indices),
                    None if positives is None else gather_rows(self.images, positives),
                )
            except OSError as error:
                where = f" ({error.filename})" if error.filename else ""
                taken = step + self.step_offset
                raise DataError(
                    f"the images of step {taken + 1} cannot be read: {error.strerror or error}{where}. Make them "
                    "readable again; then `sslkit resume` continues from the last checkpoint."
                ) from error
