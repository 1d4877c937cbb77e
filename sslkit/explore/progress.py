"""Type of the function that reports progress."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[[str, int, int], None]
"""Function that is called with the name of the current work, such as ``"reading images"``, and the numbers of completed
and of all items."""
