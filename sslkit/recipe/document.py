"""A recipe as it was written: TOML tables, merged along ``extends``, with the file and line of every key."""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sslkit.errors import Problem, RecipeError
from sslkit.recipe.locate import KeyPath, locate

COMPONENT_TABLES = ("data", "views", "backbone", "head", "loss", "method", "optimizer")
"""Sections whose table is one component: ``use`` and that component's options."""

LARGEST = 1_000_000
"""Bytes of the largest recipe that is read; anything above is some other file."""


@dataclass(frozen=True)
class Origin:
    """Where a key was written: a file and its 1-based line, or a ``--set`` option (line 0)."""

    source: str
    line: int = 0


@dataclass
class Document:
    """Tables and where each key of them comes from.

    Attributes:
        tables: the recipe, as ``tomllib`` gives it.
        origins: file and line by key path; array elements are integers in the path.
        notes: what a user should know about how the recipe came to be, such as options that were dropped.
    """

    tables: dict[str, Any]
    origins: dict[KeyPath, Origin] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    source: str = ""

    def problem(self, path: KeyPath, message: str, hint: str = "") -> Problem:
        """A problem at a key, located at the nearest enclosing key that was written somewhere."""
        origin = next(
            (self.origins[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.origins),
            Origin(self.source),
        )
        return Problem(message, dotted(path), origin.source, origin.line, hint)

    def forget(self, path: KeyPath) -> None:
        """Drop the origins of a key and of all below it."""
        self.origins = {key: value for key, value in self.origins.items() if key[: len(path)] != path}


def dotted(path: KeyPath) -> str:
    """A key path as users write it: ``loss.0.weight``."""
    return ".".join(str(part) for part in path)


def read(path: Path) -> Document:
    """Read a recipe and everything it extends.

    Raises:
        RecipeError: a file is missing, is not UTF-8 or not TOML, or recipes extend each other in a circle.
    """
    return _read(path, chain=())


def _read(path: Path, chain: tuple[Path, ...]) -> Document:
    document = _parse(path)
    base = document.tables.pop("extends", None)
    if base is None:
        return document
    here = document.problem(("extends",), "")
    if not isinstance(base, str):
        raise _failure(
            path, f"extends must be a string, the path of another recipe, not {base!r}", here.line, "extends"
        )
    parent = path.parent / base
    chain = (*chain, path.resolve())
    if not _is_file(parent):
        raise _failure(path, f"there is no recipe {str(parent)!r}", here.line, "extends")
    if parent.resolve() in chain:
        circle = " -> ".join(str(link.name) for link in (*chain, parent))
        raise _failure(path, f"recipes extend each other in a circle: {circle}", here.line, "extends")
    merged = _read(parent, chain)
    document.forget(("extends",))
    merge(merged, document)
    merged.source = document.source
    return merged


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _parse(path: Path) -> Document:
    try:
        status = path.stat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise _failure(path, "is not a file")
        if status.st_size > LARGEST:
            raise _failure(path, f"is larger than {LARGEST} bytes, too large for a recipe")
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError:
        others = ", ".join(sorted(str(other) for other in path.parent.glob("*.toml"))) if path.parent.is_dir() else ""
        raise _failure(path, "there is no such file", hint=f"there are {others}" if others else "") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise _failure(path, f"is not UTF-8 text (byte {error.start})", line) from None
    except (OSError, ValueError) as error:
        raise _failure(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        tables = tomllib.loads(text)
        lines = locate(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        raise _failure(path, f"is not valid TOML: {error}", line) from None
    except RecursionError:
        raise _failure(path, "is nested too deeply for a recipe") from None
    except ValueError as error:
        # tomllib lets Python's own complaint through, such as that of a number with thousands of digits.
        raise _failure(path, f"is not valid TOML: {error}") from None
    origins = {key: Origin(str(path), line) for key, line in lines.items()}
    return Document(tables, origins, source=str(path))


def _failure(path: Path, message: str, line: int = 0, key: str = "", hint: str = "") -> RecipeError:
    return RecipeError([Problem(message, key, str(path), line, hint)])


def merge(base: Document, over: Document) -> None:
    """Lay one document over another: tables merge; arrays, values and changed components replace."""
    _merge(base, over, base.tables, over.tables, ())


def _merge(base: Document, over: Document, old: dict[str, Any], new: Mapping[str, Any], path: KeyPath) -> None:
    for key, value in new.items():
        here = (*path, key)
        before = old.get(key)
        changed = here[0] in COMPONENT_TABLES and len(here) == 1 and _changes_component(before, value)
        if isinstance(before, dict) and isinstance(value, dict) and not changed:
            if here in over.origins:
                base.origins[here] = over.origins[here]
            _merge(base, over, before, value, here)
        else:
            base.forget(here)
            old[key] = value
            base.origins |= {place: origin for place, origin in over.origins.items() if place[: len(here)] == here}


def _changes_component(before: Any, value: Any) -> bool:
    return (
        isinstance(before, dict)
        and isinstance(value, dict)
        and value.get("use", before.get("use")) != before.get("use")
    )
