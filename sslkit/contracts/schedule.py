"""The half cosine that schedules share."""

from __future__ import annotations

import math


def cosine_decay(step: float, total: float = 1.0) -> float:
    """Return half a cosine: 1 at ``step`` 0, 0 at ``step`` ``total``."""
    return (1 + math.cos(math.pi * step / total)) / 2
