"""Estimate of the remaining time of a training run."""

from __future__ import annotations

import time
from collections import deque
from statistics import mean, median

WINDOW_SECONDS = 1.0
"""Minimum duration of a window of steps in seconds. A GPU runs steps asynchronously, so one step cannot be timed."""

WINDOWS = 30
"""Number of recent windows; the median over these windows gives the time of a step."""


class RemainingTime:
    """Estimator of the remaining time from the durations of recent steps.

    Call ``start`` once and ``end_step`` after each step. If a step ends an epoch, call ``end_epoch`` before
    ``end_step``: such steps are timed separately, because they include metrics. The first step is ignored, because it
    may include compilation. Steps are timed in windows of several steps. All windows have the same number of steps,
    which doubles until a window takes ``WINDOW_SECONDS``.
    """

    def start(self) -> None:
        """Discard all measured times. The next step counts as the first step."""
        self.windows: list[float] = []
        self.window_steps = 1
        self.seconds, self.steps = 0.0, 0
        self.epoch_ends: deque[float] = deque(maxlen=WINDOWS)
        self.ends_epoch = False
        self.last: float | None = None

    def end_epoch(self) -> None:
        """Mark the current step as the final step of an epoch."""
        self.ends_epoch = True

    def end_step(self) -> None:
        """Record that a step ends now."""
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
        """Return the estimated remaining time in seconds, or None before the second step.

        Args:
            steps: number of remaining steps.
            epochs: number of remaining steps that end an epoch.
        """
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
