"""Shell completion of run, recipe and component names, without importing slow modules such as torch."""

from __future__ import annotations

from typer import Context


def runs(context: Context, incomplete: str) -> list[str]:
    """Return each run's ``NAME/ID`` that starts with ``incomplete``, newest first."""
    from sslkit.runs.find import all_runs, runs_folder

    names = [run.name for run in all_runs(runs_folder(context.params.get("runs")))]
    return [name for name in reversed(names) if name.startswith(incomplete)]


def recipes(incomplete: str) -> list[str]:
    """Return paths of recipes, in the working directory and its folder ``recipes``, that start with ``incomplete``."""
    from sslkit.recipe.find import all_recipes

    return [str(path) for path in all_recipes() if str(path).startswith(incomplete)]


def methods(incomplete: str) -> list[str]:
    """Return names of recipes, after the comma-separated names that ``incomplete`` already has."""
    from sslkit.recipe.find import all_recipes, recipe_name

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in map(recipe_name, all_recipes()) if name.startswith(last)]


def components(incomplete: str) -> list[str]:
    """Return the names of installed components that start with ``incomplete``."""
    from sslkit.components.catalog import Catalog

    return sorted({entry.name for entry in Catalog.scan().entries if entry.name.startswith(incomplete)})


def kinds(incomplete: str) -> list[str]:
    """Return the kinds of components that start with ``incomplete``."""
    from sslkit.components.kinds import KINDS

    return [kind.singular for kind in KINDS if kind.singular.startswith(incomplete)]
