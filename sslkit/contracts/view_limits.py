"""Declaration of the views that a loss or a method works with."""

from __future__ import annotations

from typing import ClassVar


class ViewLimits:
    """Limits on the number of views of each image; ``Loss`` and ``Method`` describe the attributes."""

    min_views: ClassVar[int] = 1
    max_views: ClassVar[int | None] = None
    min_global_views: ClassVar[int] = 1
    global_views_only: ClassVar[bool] = False
