"""glibc's allocator settings: memory that a step on the CPU frees stays in the process for the next step."""

from __future__ import annotations

import ctypes
import os
import sys

RETAIN_FREED_MEMORY = "SSLKIT_RETAIN_FREED_MEMORY"
"""Environment variable that turns ``retain_freed_memory`` on with ``1``. The command line sets it, and the processes
that it launches inherit it. A program that imports sslkit keeps its own allocator settings unless it sets it, too."""

MALLOC_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
"""Environment variables by which a user sets glibc's thresholds."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameter numbers of ``mallopt`` in glibc's ``malloc.h``."""

LARGE_BLOCK = 2**30
"""Bytes from which on a freed block goes back to the system: data and features, not the activations of a step."""


def retain_freed_memory(device: str) -> None:
    """Let this process keep freed blocks of less than 1 GiB, where it was asked to and computes on ``cpu``.

    Call it before the process computes. By default glibc returns blocks of more than 32 MiB to the system at once, so
    the pages of most activations are fetched and zeroed again in each step. The process stays as large as its peak. The
    peak can be higher than before, because a retained block does not always fit the next request.

    Nothing changes without ``SSLKIT_RETAIN_FREED_MEMORY=1``, with another C library, or where the user has set
    glibc's thresholds.
    """
    if device != "cpu" or sys.platform != "linux" or os.environ.get(RETAIN_FREED_MEMORY) != "1":
        return
    if any(name in os.environ for name in MALLOC_VARIABLES):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
        mallopt(M_TRIM_THRESHOLD, 2 * LARGE_BLOCK - 1)
