"""Type of the function that reports progress."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[[str, int, int], None]
"""Function that is called with a stage, the number of completed items and the number of all items."""
