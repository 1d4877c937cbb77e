"""Durations in recipes, in epochs or steps."""

from __future__ import annotations

DURATION = r"^[0-9]{1,9}(\.[0-9]{1,9})? epochs$|^[0-9]{1,9} steps$"
"""Pattern of durations such as "1 epochs", "0.5 epochs" or "300 steps"."""


def to_steps(duration: str, steps_per_epoch: int) -> int:
    """Return a duration in optimizer steps, rounded."""
    number, unit = duration.split()
    return int(number) if unit == "steps" else round(float(number) * steps_per_epoch)
