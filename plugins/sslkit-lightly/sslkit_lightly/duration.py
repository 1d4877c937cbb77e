"""Durations from the start of the training."""

from __future__ import annotations

import sslkit


class Duration:
    """Duration from the start of the training.

    In epochs or percent it follows the trained epochs, rounded to a step. In steps it counts optimizer steps, also
    those before a resume with another batch size.

    Args:
        text: the duration, such as "1 epochs", "300 steps" or "10%".
        context: the runtime facts.
    """

    def __init__(self, text: str, context: sslkit.Context) -> None:
        self.steps = sslkit.duration_steps(text, context)
        self.steps_per_epoch = context.steps_per_epoch
        self.in_steps = "step" in text
        self.offset = context.step_offset if self.in_steps else 0

    def is_over(self, step: int) -> bool:
        """Return whether it is over in step ``step`` (from 0), as components receive it."""
        return step + self.offset >= self.steps

    def ramp(self, step: int) -> float:
        """Return the value in step ``step`` of a ramp from 0 to 1 over the duration: ``linspace(0, 1, n)``, then 1.

        n is the number of epochs, and the value changes with each epoch. For a duration in steps, or of less than an
        epoch, n is the number of steps. So 1 is reached in the last epoch or step of the duration.
        """
        position, count = step + self.offset, float(self.steps)
        if not self.in_steps and self.steps >= self.steps_per_epoch:
            position, count = position // self.steps_per_epoch, self.steps / self.steps_per_epoch
        if position >= count:
            return 1.0
        return min(position / (count - 1), 1.0) if count > 1 else 0.0
