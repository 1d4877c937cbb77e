"""Shell completion of run, recipe and component names, without importing slow modules such as torch."""

from __future__ import annotations

from pathlib import Path

from typer import Context


def runs(context: Context, incomplete: str) -> list[str]:
    """Return each run's ``NAME/ID`` that starts with ``incomplete``, newest first."""
    from sslkit.runs.find import all_runs, runs_folder

    names = [run.name for run in all_runs(runs_folder(context.params.get("runs")))]
    return [name for name in reversed(names) if name.startswith(incomplete)]


def recipes(incomplete: str) -> list[str]:
    """Return paths of recipes, in the working directory and its folder ``recipes``, that start with ``incomplete``."""
    paths = [*Path().glob("*.toml"), *Path("recipes").rglob("*.toml")]
    recipes = [path for path in sorted(paths) if "references" not in path.parts]  # published results are not recipes
    return [str(path) for path in recipes if str(path).startswith(incomplete)]


def components(incomplete: str) -> list[str]:
    """Return the names of installed components that start with ``incomplete``."""
    from sslkit.components.catalog import Catalog

    return sorted({entry.name for entry in Catalog.scan().entries if entry.name.startswith(incomplete)})


def kinds(incomplete: str) -> list[str]:
    """Return the kinds of components that start with ``incomplete``."""
    from sslkit.components.kinds import KINDS

    return [kind.singular for kind in KINDS if kind.singular.startswith(incomplete)]
