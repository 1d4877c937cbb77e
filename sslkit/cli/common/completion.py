"""What the shell completes: names of runs, recipes and components, without importing anything heavy."""

from __future__ import annotations

from pathlib import Path

from typer import Context


def runs(context: Context, incomplete: str) -> list[str]:
    """``NAME/ID`` of every run, newest first."""
    from sslkit.runs.find import all_runs, runs_folder

    names = [run.name for run in all_runs(runs_folder(context.params.get("runs")))]
    return [name for name in reversed(names) if name.startswith(incomplete)]


def recipes(incomplete: str) -> list[str]:
    """Recipes of the working directory, and below its folder ``recipes``."""
    found = [*Path().glob("*.toml"), *Path("recipes").rglob("*.toml")]
    return [str(path) for path in sorted(found) if str(path).startswith(incomplete)]


def components(incomplete: str) -> list[str]:
    """Names of installed components."""
    from sslkit.components.catalog import Catalog

    return sorted({entry.name for entry in Catalog.scan().entries if entry.name.startswith(incomplete)})


def kinds(incomplete: str) -> list[str]:
    """Kinds of components."""
    from sslkit.components.kinds import KINDS

    return [kind.singular for kind in KINDS if kind.singular.startswith(incomplete)]
