"""A run's own files in words: what was trained, on what, with what."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sslkit.files import read_regular_file
from sslkit.reporting.evaluations import protocol


def read(path: Path, notes: list[str]) -> str:
    """A file's text; empty, with a note why, where it cannot be read."""
    try:
        return read_regular_file(path)
    except (OSError, ValueError) as error:
        notes.append(f"{path} cannot be read: {error}")
        return ""


def parsed(parse: Callable[[str], Any], text: str, path: Path, notes: list[str]) -> dict[str, Any]:
    """What a file's text holds; nothing, with a note why, where it is damaged."""
    try:
        found = parse(text) if text else {}
    except (ValueError, RecursionError) as error:
        notes.append(f"{path} cannot be read: {error}")
        return {}
    return found if isinstance(found, dict) else {}


def used(recipe: dict[str, Any], section: str) -> str:
    """Names of a section's components without their distributions."""
    table = recipe.get(section, {})
    tables = table if isinstance(table, list) else [table]
    uses = [str(item.get("use", "?")) for item in tables if isinstance(item, dict)]
    counts = Counter(use.partition(":")[2] or use for use in uses)
    return ", ".join(name if count == 1 else f"{count} × {name}" for name, count in counts.items())


def summary(recipe: dict[str, Any], record: dict[str, Any], progress: str) -> str:
    """A run in one sentence."""
    if not recipe:
        return f"{progress} epochs."
    images = record.get("training_images")
    many = f"{images} images of " if isinstance(images, int) else ""
    network = f"{used(recipe, 'loss')} on {used(recipe, 'backbone')}"
    return f"{network}, trained on {many}{used(recipe, 'data')}, {progress} epochs."


def facts(recipe: dict[str, Any], record: dict[str, Any], steps: int) -> list[tuple[str, str]]:
    """What was trained on what, by name."""
    if not recipe:
        return []
    train, hardware, run = _table(recipe, "train"), _table(record, "hardware"), _table(recipe, "run")
    sides = record.get("image_shape")
    shape = "×".join(map(str, sides)) if isinstance(sides, list) else "?"
    images = f"{record.get('training_images', '?')} images of {shape}"
    found = [
        ("data", f"{used(recipe, 'data')}: {images}, used without labels"),
        *(
            (name, used(recipe, name))
            for name in ("views", "backbone", "head", "loss", "method", "optimizer")
            if name in recipe
        ),
        ("length", f"{train.get('epochs', '?')} epochs of batches of {train.get('batch_size', '?')}, {steps} steps"),
        ("hardware", ", ".join(str(hardware[key]) for key in ("name", "device", "precision") if key in hardware)),
        ("seed", str(run.get("seed", "?"))),
    ]
    return [(name, value) for name, value in found if value]


def _table(tree: dict[str, Any], key: str) -> dict[str, Any]:
    """A table of what somebody else may have written; empty where it is none."""
    found = tree.get(key)
    return found if isinstance(found, dict) else {}


def origin(record: dict[str, Any]) -> list[tuple[str, str]]:
    """What a run was trained with, by name, from its provenance."""
    left = dict(record)
    found = []
    if isinstance(command := left.pop("command", None), list):
        found.append(("command", shlex.join(map(str, command))))
    if isinstance(versions := left.pop("versions", None), dict):
        found.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    if isinstance(components := left.pop("components", None), dict):
        found += [
            (f"component {place}", f"{item.get('name')} of {item.get('distribution')} {item.get('version')}")
            for place, item in components.items()
            if isinstance(item, dict)
        ]
    return found + [(key, words(value)) for key, value in protocol(left)]


def words(value: Any) -> str:
    """A value as people write it."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(words, value)) or "none"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, bool)) or value is None else str(value)
