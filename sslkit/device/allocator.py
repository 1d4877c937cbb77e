"""Configure glibc's allocator so that a CPU training step reuses the memory that the previous step freed."""

from __future__ import annotations

import ctypes
import os
import sys

RETAIN_FREED_MEMORY = "SSLKIT_RETAIN_FREED_MEMORY"
"""Environment variable that enables ``retain_freed_memory`` if it is ``1``. The command line sets this variable, and
launched processes inherit it. Other programs that import sslkit do not set the variable, so that their allocator
settings do not change."""

MALLOC_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
"""Environment variables with which a user can set glibc's thresholds."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameter numbers of ``mallopt`` in glibc's ``malloc.h``."""

LARGE_BLOCK = 2**30
"""Size in bytes from which freed blocks are returned to the system. Only blocks of data and features are larger."""


def retain_freed_memory(device: str) -> None:
    """Make this process keep freed memory blocks of less than 1 GiB, if ``device`` is ``cpu``.

    Call this function before the first computation of the process. By default, glibc returns blocks of more than 32 MiB
    to the system immediately, and most activations need new, zeroed pages in each step. With this setting, the
    memory of the process rarely falls. Its peak can also be higher, because a kept block does not always fit the next
    request.

    Nothing changes unless ``SSLKIT_RETAIN_FREED_MEMORY`` is 1, the C library is glibc, and no environment variable sets
    the allocator's thresholds.
    """
    if device != "cpu" or sys.platform != "linux" or os.environ.get(RETAIN_FREED_MEMORY) != "1":
        return
    if any(name in os.environ for name in MALLOC_VARIABLES):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
        mallopt(M_TRIM_THRESHOLD, 2 * LARGE_BLOCK - 1)
