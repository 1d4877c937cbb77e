"""How fast a training is, by the clock."""

from __future__ import annotations

import time

from sslkit.data.loader import Loader


class Throughput:
    """Images a second and the share of time spent waiting for images, between two readings.

    Args:
        loader: where the images come from.
        batch_size: images in a step, of all processes together.

    Attributes:
        images_per_second: between the last two readings.
        waiting: part of that time, 0..1, in which the loader was waited for.
    """

    def __init__(self, loader: Loader, batch_size: int) -> None:
        self.loader = loader
        self.batch_size = batch_size
        self.images_per_second = 0.0
        self.waiting = 0.0
        self.restart(0)

    def restart(self, step: int) -> None:
        """What was since the last reading does not count."""
        self._time, self._step, self._waited = time.perf_counter(), step, self.loader.seconds

    def read(self, step: int) -> None:
        """Measure the steps since the last reading."""
        if step > self._step:
            seconds = max(time.perf_counter() - self._time, 1e-9)
            self.images_per_second = (step - self._step) * self.batch_size / seconds
            self.waiting = (self.loader.seconds - self._waited) / seconds
        self.restart(step)
