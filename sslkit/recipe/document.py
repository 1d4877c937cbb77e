"""Raw TOML tables of a recipe and of the recipes that it extends, with each key's file and line."""

from __future__ import annotations

import os
import re
import shlex
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sslkit.components.kinds import KINDS
from sslkit.errors import Problem, RecipeError
from sslkit.recipe.line_numbers import KeyPath, line_numbers

COMPONENT_TABLES = {kind.section: kind for kind in KINDS if kind.section}
"""Kind of component that each recipe section selects with ``use``."""

BACKSLASH_HINT = "in double quotes a backslash starts an escape: write paths with / or in single quotes"
"""Advice for a Windows path whose backslashes TOML reads as escapes."""

MAX_BYTES = 1_000_000
"""Maximum size of a recipe file in bytes."""


@dataclass(frozen=True)
class Origin:
    """Source of a key: the file and the 1-based line; for ``--set``, the option and line 0."""

    source: str
    line: int = 0


@dataclass
class Document:
    """Unchecked tables of a recipe and the origin of each key.

    Attributes:
        tables: the recipe, as ``tomllib`` returns it.
        origins: file and line of each key, keyed by key path.
        notes: messages to the user, such as which options ``--set`` dropped.
        source: name of the recipe file.
        replaced: original values that ``extends`` or ``--set`` replaced, keyed by key path.
    """

    tables: dict[str, Any]
    origins: dict[KeyPath, Origin] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    source: str = ""
    replaced: dict[KeyPath, Any] = field(default_factory=dict)

    def problem(self, path: KeyPath, message: str, hint: str = "") -> Problem:
        """Return a ``Problem`` with the key ``path``, located at this key or at its closest existing parent."""
        origin = next(
            (self.origins[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.origins),
            Origin(self.source),
        )
        return Problem(message, dotted(path), origin.source, origin.line, hint)

    def drop_origins(self, path: KeyPath) -> None:
        """Remove the origins of a key and of all keys below it."""
        self.origins = {key: value for key, value in self.origins.items() if key[: len(path)] != path}


def dotted(path: KeyPath) -> str:
    """Return a key path as users write it, such as ``loss.0.weight``."""
    return ".".join(str(part) for part in path)


def read_document(path: Path) -> Document:
    """Read a recipe and the recipes that it extends.

    Raises:
        RecipeError: a file is missing, is not valid UTF-8 or TOML, or recipes extend each other in a cycle.
    """
    return _read(path, chain=())


def _read(path: Path, chain: tuple[Path, ...]) -> Document:
    document = _parse(path)
    base = document.tables.pop("extends", None)
    if base is None:
        return document
    line = document.problem(("extends",), "").line
    if not isinstance(base, str):
        raise _error(path, f"must be a string, the path of another recipe, not {base!r}", line, "extends")
    parent = path.parent / base
    chain = (*chain, path.resolve())
    if not os.path.isfile(parent):  # noqa: PTH113  # unlike Path.is_file, this is False for invalid paths
        raise _error(path, f"there is no recipe {str(parent)!r}", line, "extends")
    if parent.resolve() in chain:
        circle = " -> ".join(str(link.name) for link in (*chain, parent))
        raise _error(path, f"recipes extend each other in a cycle: {circle}", line, "extends")
    merged = _read(parent, chain)
    document.drop_origins(("extends",))
    _merge(merged, document, merged.tables, document.tables)
    merged.source = document.source
    return merged


def _parse(path: Path) -> Document:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise _error(path, "is a folder, not a recipe", hint=_folder_hint(path))
        if not stat.S_ISREG(status.st_mode):
            raise _error(path, "is not a file")
        if status.st_size > MAX_BYTES:
            raise _error(path, f"is larger than {MAX_BYTES} bytes, the limit for a recipe")
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError:
        others = ", ".join(sorted(str(other) for other in path.parent.glob("*.toml"))) if path.parent.is_dir() else ""
        raise _error(path, "there is no such file", hint=f"the folder has {others}" if others else "") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise _error(path, f"is not UTF-8 text (byte {error.start})", line) from None
    except (OSError, ValueError) as error:
        raise _error(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        tables = tomllib.loads(text)
        lines = line_numbers(text)
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"line (\d+)", str(error))
        line = int(match[1]) if match else text.count("\n") + 1
        hint = BACKSLASH_HINT if re.search("Unescaped|Escaped|Invalid hex", str(error)) else ""
        raise _error(path, f"is not valid TOML: {error}", line, hint=hint) from None
    except RecursionError:
        raise _error(path, "is nested too deeply for a recipe") from None
    except ValueError as error:
        # tomllib passes on Python's own errors, for example for a number with thousands of digits.
        raise _error(path, f"is not valid TOML: {error}") from None
    origins = {key: Origin(str(path), line) for key, line in lines.items()}
    return Document(tables, origins, source=str(path))


def _folder_hint(path: Path) -> str:
    if (path / "recipe.toml").is_file():
        return f"its recipe is {path / 'recipe.toml'}"
    return f"`sslkit init {shlex.quote(str(path))}` proposes a recipe for its images"


def _error(path: Path, message: str, line: int = 0, key: str = "", hint: str = "") -> RecipeError:
    return RecipeError([Problem(message, key, str(path), line, hint)])


def _merge(base: Document, over: Document, old: dict[str, Any], new: Mapping[str, Any], path: KeyPath = ()) -> None:
    """Merge a table of a recipe into the same table of the recipe that it extends.

    Nested tables are merged as well, except the table of a component whose ``use`` changes. Such a table, an array or
    any other value replaces the old value.

    Args:
        base: the recipe that is extended; it is changed.
        over: the recipe that extends ``base``.
        old: the table in ``base``.
        new: the table in ``over``.
        path: key path of both tables.
    """
    for key, value in new.items():
        key_path = (*path, key)
        before = old.get(key)
        changed = key_path[0] in COMPONENT_TABLES and len(key_path) == 1 and _changes_component(before, value)
        if isinstance(before, dict) and isinstance(value, dict) and not changed:
            if key_path in over.origins:
                base.origins[key_path] = over.origins[key_path]
            _merge(base, over, before, value, key_path)
        else:
            base.drop_origins(key_path)
            if key in old:
                base.replaced.setdefault(key_path, before)
            old[key] = value
            base.origins |= {
                other: origin for other, origin in over.origins.items() if other[: len(key_path)] == key_path
            }


def _changes_component(before: Any, value: Any) -> bool:
    return (
        isinstance(before, dict)
        and isinstance(value, dict)
        and value.get("use", before.get("use")) != before.get("use")
    )
