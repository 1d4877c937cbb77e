"""Periods of training, as recipes write them."""

from __future__ import annotations

PERIOD = r"^[0-9]{1,9}(\.[0-9]{1,9})? epochs$|^[0-9]{1,9} steps$"
"""Such as "1 epochs", "0.5 epochs" or "300 steps"."""


def steps(period: str, steps_per_epoch: int) -> int:
    """Optimizer steps in a period; fractions of an epoch are rounded."""
    number, unit = period.split()
    return int(number) if unit == "steps" else round(float(number) * steps_per_epoch)
