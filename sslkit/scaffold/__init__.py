"""Writes a complete distribution with one component: what ``sslkit plugins new`` gives an author to begin with.

The templates stand beside this file: ``common`` for every kind, and for each kind the component, its own test and a
recipe.  They are ``string.Template`` texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from sslkit import __version__
from sslkit.components.kinds import Kind
from sslkit.contracts import API
from sslkit.errors import InputError
from sslkit.files import write_atomic

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

SUFFIX = ".template"

SECTIONS = {"dataset": "data", "view": "views"}
"""Sections of a recipe that are not called as their kind is."""


def write_distribution(name: str, kind: Kind, folder: Path | None = None) -> Path:
    """Write the distribution ``sslkit-NAME``.

    Args:
        name: what recipes will call the component: lower case, digits and single dashes.
        kind: its kind.
        folder: folder to make; ``sslkit-NAME`` in the working directory where None.

    Returns:
        The folder.

    Raises:
        InputError: the name cannot be used, or the folder is there already.
    """
    if not NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be a component's name: use lower-case letters, digits and dashes, "
            f"such as my-{kind.singular}"
        )
    folder = folder or Path(f"sslkit-{name}")
    if folder.exists():
        raise InputError(f"{folder} is there already: choose another name, or another folder with --out")
    major, minor, *_ = __version__.split(".")
    package = f"sslkit_{name.replace('-', '_')}"
    words = {
        "name": name,
        "package": package,
        "Class": "".join(word.capitalize() for word in name.split("-")),
        "kind": kind.singular,
        "article": kind.article,
        "kinds": kind.plural,
        "kit": {"view": "ViewsTests"}.get(kind.singular, f"{kind.singular.capitalize()}Tests"),
        "api": str(API),
        "usage": _usage(name, kind),
        "sslkit": f">={major}.{minor},<{major}.{int(minor) + 1}",
    }
    templates = resources.files(__package__) / "templates"
    renamed = {"package": package, "name.toml": f"{name}.toml", "github": ".github", "gitignore": ".gitignore"}
    for root in (templates / "common", templates / kind.singular):
        for parts, text in _read(root):
            target = folder.joinpath(*(renamed.get(part, part) for part in parts))
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(target, Template(text).substitute(words))
    return folder


def _usage(name: str, kind: Kind) -> str:
    """How it is named, for the README."""
    if kind.singular == "evaluator":
        return f"    sslkit eval --use {name}"
    return f'```toml\n[{SECTIONS.get(kind.singular, kind.singular)}]\nuse = "{name}"\n```'


def _read(root: Traversable, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """The templates below a folder: the parts of each one's path, and its text."""
    for item in sorted(root.iterdir(), key=lambda item: item.name):
        if item.is_dir():
            yield from _read(item, (*above, item.name))
        elif item.name.endswith(SUFFIX):
            yield (*above, item.name.removesuffix(SUFFIX)), item.read_text(encoding="utf-8")
