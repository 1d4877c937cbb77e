"""Throughput of training, measured in wall-clock time."""

from __future__ import annotations

import time

from sslkit.data.loader import Loader


class Throughput:
    """Images per second, and the fraction of time spent waiting for data.

    Args:
        loader: the loader of the training images.
        batch_size: number of images per step, over all processes.

    Attributes:
        images_per_second: throughput between the last two updates.
        data_wait: fraction of this time spent waiting for the loader, in [0, 1].
    """

    def __init__(self, loader: Loader, batch_size: int) -> None:
        self.loader = loader
        self.batch_size = batch_size
        self.images_per_second = 0.0
        self.data_wait = 0.0
        self.restart(0)

    def restart(self, step: int) -> None:
        """Start a new interval after ``step``, without computing the throughput of the previous interval."""
        self._time, self._step, self._waited = time.perf_counter(), step, self.loader.wait_seconds

    def update(self, step: int) -> None:
        """Compute the throughput of the steps since the previous update, up to ``step``, and start a new interval."""
        if step > self._step:
            seconds = max(time.perf_counter() - self._time, 1e-9)
            self.images_per_second = (step - self._step) * self.batch_size / seconds
            self.data_wait = (self.loader.wait_seconds - self._waited) / seconds
        self.restart(step)
