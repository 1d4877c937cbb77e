"""Template of a plugin distribution, for ``sslkit plugins new``.

The folder ``templates`` contains ``string.Template`` files. The sub-folder ``common`` has the files that all
distributions need. For each kind of component, such as ``loss``, a sub-folder has the component, its test and a recipe.
"""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

from sslkit import __version__
from sslkit.components.kinds import Kind
from sslkit.contracts import API
from sslkit.errors import InputError
from sslkit.files import write_atomic

VALID_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

KITS = {"view": "ViewsTests", "positive": "PositivesTests"}
"""Test classes whose name is not the name of the kind followed by ``Tests``."""

TEMPLATE_SUFFIX = ".template"


def write_distribution(name: str, kind: Kind, folder: Path | None = None) -> Path:
    """Create a distribution ``sslkit-NAME`` with a working component.

    Args:
        name: name of the component in recipes: lower-case letters, digits and single dashes.
        kind: kind of the component.
        folder: folder to create; None means ``sslkit-NAME`` in the working directory.

    Returns:
        Path of the created folder.

    Raises:
        InputError: the name is invalid, or the folder exists.
    """
    if not VALID_NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be a component's name: use lower-case letters, digits and dashes, "
            f"such as my-{kind.singular}"
        )
    folder = folder or Path(f"sslkit-{name}")
    if folder.exists():
        raise InputError(f"{folder} already exists: choose another name, or another folder with --out")
    major, minor, *_ = __version__.split(".")
    package = f"sslkit_{name.replace('-', '_')}"
    variables = {
        "name": name,
        "package": package,
        "Class": "".join(word.capitalize() for word in name.split("-")),
        "kind": kind.singular,
        "article": kind.article,
        "kinds": kind.plural,
        "kit": KITS.get(kind.singular, f"{kind.singular.capitalize()}Tests"),
        "api": str(API),
        "extra": "[pretrained]" if kind.singular == "positive" else "",
        "usage": _usage(name, kind),
        "sslkit": f">={major}.{minor},<{major}.{int(minor) + 1}",
    }
    templates = Path(__file__).parent / "templates"
    renamed = {"package": package, "name.toml": f"{name}.toml", "github": ".github", "gitignore": ".gitignore"}
    for root in (templates / "common", templates / kind.singular):
        for template in sorted(root.rglob(f"*{TEMPLATE_SUFFIX}")):
            parts = template.relative_to(root).with_suffix("").parts
            target = folder.joinpath(*(renamed.get(part, part) for part in parts))
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(target, Template(template.read_text(encoding="utf-8")).substitute(variables))
    return folder


def _usage(name: str, kind: Kind) -> str:
    """Return the README's example of how to use the component."""
    if not kind.section:
        return f"    sslkit eval --use {name}"
    return f'```toml\n[{kind.section}]\nuse = "{name}"\n```'
