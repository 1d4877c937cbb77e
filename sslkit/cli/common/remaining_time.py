"""Estimate of a training's remaining time."""

from __future__ import annotations

import time
from collections import deque
from statistics import mean, median

WINDOW_SECONDS = 1.0
"""Least time of a window of steps; a step alone may be too short, because a GPU computes several behind the host."""

WINDOWS = 30
"""Number of recent windows whose median is the time of a step."""


class RemainingTime:
    """Remaining time by the median rate of recent steps; the last steps of epochs, with their metrics, count apart.

    Call ``start``, and after each step ``end_step``, before it ``end_epoch`` if the step ends an epoch. The first step
    does not count, because it may include compilation. All windows have the same number of steps, which doubles until
    they are long enough.
    """

    def start(self) -> None:
        """Forget all measured times; the next step is the first."""
        self.windows: list[float] = []
        self.window_steps = 1
        self.seconds, self.steps = 0.0, 0
        self.epoch_ends: deque[float] = deque(maxlen=WINDOWS)
        self.ends_epoch = False
        self.last: float | None = None

    def end_epoch(self) -> None:
        """Count the current step as the last one of an epoch."""
        self.ends_epoch = True

    def end_step(self) -> None:
        """Count a step that ends now."""
        now = time.monotonic()
        elapsed, self.last = (None if self.last is None else now - self.last), now
        ends_epoch, self.ends_epoch = self.ends_epoch, False
        if elapsed is None:
            return
        if ends_epoch:
            self.epoch_ends.append(elapsed)
            return
        self.seconds, self.steps = self.seconds + elapsed, self.steps + 1
        if self.steps == self.window_steps:
            self.windows.append(self.seconds)
            self.seconds, self.steps = 0.0, 0
            self._limit_windows()

    def _limit_windows(self) -> None:
        if len(self.windows) <= WINDOWS:
            return
        del self.windows[0]
        if median(self.windows) < WINDOW_SECONDS:
            self.windows = [sum(pair) for pair in zip(self.windows[::2], self.windows[1::2], strict=True)]
            self.window_steps *= 2

    def estimate(self, steps: int, epochs: int) -> float | None:
        """Return the seconds that ``steps`` take, of which ``epochs`` end an epoch; None before the second step."""
        if self.windows:
            step = median(self.windows) / self.window_steps
        elif self.epoch_ends:
            step = mean(self.epoch_ends)
        else:
            return None
        return (steps - epochs) * step + epochs * (mean(self.epoch_ends) if self.epoch_ends else step)


def format_seconds(seconds: float) -> str:
    """Return a time as ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
