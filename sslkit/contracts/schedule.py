"""Cosine decay, shared by the schedules of learning rates and other values."""

from __future__ import annotations

import math


def cosine_decay(step: float, total: float = 1.0) -> float:
    """Return the cosine decay from 1 at step 0 to 0 at step ``total``: ``(1 + cos(pi * step / total)) / 2``."""
    return (1 + math.cos(math.pi * step / total)) / 2
