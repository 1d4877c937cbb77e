"""The recipe of a run: a summary in one sentence, and a table of its parts."""

from __future__ import annotations

from collections import Counter
from typing import Any


def component_names(recipe: dict[str, Any], section: str) -> str:
    """Return the names of a section's components, such as ``2 × swav``, without the packages that provide them."""
    table = recipe.get(section, {})
    tables = table if isinstance(table, list) else [table]
    uses = [str(item.get("use", "?")) for item in tables if isinstance(item, dict)]
    counts = Counter(use.partition(":")[2] or use for use in uses)
    return ", ".join(name if count == 1 else f"{count} × {name}" for name, count in counts.items())


def summary(recipe: dict[str, Any], provenance: dict[str, Any], progress: str) -> str:
    """Summarise a run in one sentence. ``progress`` is the number of trained epochs, such as ``3 of 10``."""
    if not recipe:
        return f"{progress} epochs."
    images = provenance.get("training_images")
    count = f"{images} images of " if isinstance(images, int) else ""
    network = f"{component_names(recipe, 'loss')} on {component_names(recipe, 'backbone')}"
    return f"{network}, trained on {count}{component_names(recipe, 'data')}, {progress} epochs."


def recipe_rows(recipe: dict[str, Any], provenance: dict[str, Any], steps: int) -> list[tuple[str, str]]:
    """Return table rows with the data, components, length, hardware and seed of a run: names and values."""
    if not recipe:
        return []
    train, hardware, run = _table(recipe, "train"), _table(provenance, "hardware"), _table(recipe, "run")
    sides = provenance.get("image_shape")
    shape = "×".join(map(str, sides)) if isinstance(sides, list) else "?"
    images = f"{provenance.get('training_images', '?')} images of {shape}"
    rows = [
        ("data", f"{component_names(recipe, 'data')}: {images}, used without labels"),
        *(
            (name, component_names(recipe, name))
            for name in ("views", "backbone", "head", "loss", "method", "optimizer")
            if name in recipe
        ),
        ("length", f"{train.get('epochs', '?')} epochs, batch size {train.get('batch_size', '?')}, {steps} steps"),
        ("hardware", ", ".join(str(hardware[key]) for key in ("name", "device", "precision") if key in hardware)),
        ("seed", str(run.get("seed", "?"))),
    ]
    return [(name, value) for name, value in rows if value]


def _table(tree: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the table ``key`` of an untrusted file; an empty table if the value is not a table."""
    table = tree.get(key)
    return table if isinstance(table, dict) else {}
