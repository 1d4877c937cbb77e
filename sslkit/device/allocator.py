"""Memory that a step on a processor frees, kept for the next step."""

from __future__ import annotations

import ctypes
import os
import sys

ASKED = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
"""Environment variables by which a user decides what glibc gives back."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""glibc's names and numbers, from its ``malloc.h``."""

LARGE = 2**30
"""Bytes of a block from which on it goes back when it is freed: data and features, not what a step needs."""


def retain_freed_memory(device: str) -> None:
    """Before this process computes on ``device``: on ``cpu``, let it keep blocks of less than 1 GiB that it frees.

    glibc gives blocks of more than 32 MiB back to the system at once, and so the pages of most activations are fetched
    and zeroed anew in each step (``benchmarks/heap.py``).  The process stays as large as it was at its peak, which can
    be higher: a block that was kept does not always fit the next one.  Other C libraries, and what a user has set, are
    left alone.
    """
    if device != "cpu" or sys.platform != "linux" or any(name in os.environ for name in ASKED):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE)
        mallopt(M_TRIM_THRESHOLD, 2 * LARGE - 1)
