"""Durations, such as a warm-up, that start with the training run and are given in epochs, steps or percent."""

from __future__ import annotations

import sslkit


class Duration:
    """Duration, such as a warm-up, that starts with the training run.

    A duration in epochs or percent ends after the same number of epochs, even if the batch size changes on resuming. A
    duration in steps ends after that number of optimizer steps.

    Args:
        text: the duration, such as "1 epochs", "300 steps" or "10%".
        context: the ``Context`` of the training run.
    """

    def __init__(self, text: str, context: sslkit.Context) -> None:
        self.steps = sslkit.duration_steps(text, context)
        self.steps_per_epoch = context.steps_per_epoch
        self.in_steps = "step" in text
        self.offset = context.step_offset if self.in_steps else 0

    def is_over(self, step: int) -> bool:
        """Return whether the duration is over in step ``step``, which is ``ViewOutputs.step``."""
        return step + self.offset >= self.steps

    def ramp(self, step: int) -> float:
        """Return the value, in step ``step``, of a linear increase from 0 to 1 over the duration.

        The values are ``linspace(0, 1, n)``, then 1. They change once per epoch, and n is the number of epochs. For a
        duration in steps, or of less than an epoch, they change once per step, and n is the number of steps.
        """
        position, count = step + self.offset, float(self.steps)
        if not self.in_steps and self.steps >= self.steps_per_epoch:
            position, count = position // self.steps_per_epoch, self.steps / self.steps_per_epoch
        if position >= count:
            return 1.0
        return min(position / (count - 1), 1.0) if count > 1 else 0.0
