"""Find recipes by name in the working directory and its folder ``recipes``."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from sslkit.errors import InputError

FOLDER = "recipes"
"""Folder in the working directory that contains recipes."""

REFERENCES = "references"
"""Folder of published results, which are not recipes."""


def all_recipes() -> list[Path]:
    """Return the paths of the recipes in the working directory and in its folder ``recipes``, sorted."""
    paths = [*Path().glob("*.toml"), *Path(FOLDER).rglob("*.toml")]
    return [path for path in sorted(paths) if REFERENCES not in path.parts]


def recipe_name(path: Path) -> str:
    """Return the name of a recipe: its path in the folder ``recipes`` without the suffix, such as ``cpu/swav``."""
    relative = path.relative_to(FOLDER) if path.parts[:1] == (FOLDER,) else path
    return relative.with_suffix("").as_posix()


def find_recipe(name: str) -> Path:
    """Return the path of the recipe that ``name`` names.

    Args:
        name: path of a file that ends in ``.toml``, or a name such as ``swav`` or ``cpu/swav``.

    Raises:
        InputError: there is no such recipe.
    """
    if name.endswith(".toml"):
        return Path(name)  # reading it reports a missing file
    for path in (Path(FOLDER) / f"{name}.toml", Path(f"{name}.toml")):
        if path.is_file():
            return path
    names = [recipe_name(path) for path in all_recipes()]
    close = get_close_matches(name, names, n=1)
    if close:
        hint = f"did you mean {close[0]!r}?"
    elif names:
        hint = "`sslkit methods list` lists the recipes here; or give the path of a recipe"
    else:
        hint = f"there are no recipes here: change to a folder with {FOLDER}/, or give the path of a recipe"
    raise InputError(f"there is no recipe {name!r} in {Path.cwd()} or its folder {FOLDER}: {hint}")
