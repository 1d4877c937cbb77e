"""The recipes of the repository's first page, and what makes those for colour pictures train on digits."""

from __future__ import annotations

from pathlib import Path

RECIPES = Path(__file__).parents[2] / "recipes"
SHIPPED = sorted(path.stem for path in RECIPES.glob("*.toml"))
ON_DIGITS = [
    *("data={use='digits'}", "views.saturation=0", "views.hue=0", "views.grayscale_p=0"),
    *("views.local_crops=1", "views.local_size=8", "views.blur_p=0.5", "views.solarise_p=0.2"),
]
"""With every effect of their views."""
