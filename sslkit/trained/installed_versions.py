"""What a run was trained with, against what is installed now."""

from __future__ import annotations

from sslkit.components.catalog import THIS_PROCESS, Catalog
from sslkit.components.kinds import find_kind
from sslkit.errors import RecipeError, UnknownComponentError
from sslkit.recipe.load import load_network_recipe
from sslkit.recipe.recipe import NetworkRecipe
from sslkit.runs.provenance_file import read_provenance
from sslkit.runs.run import Run


def load_trained_recipe(run: Run) -> tuple[NetworkRecipe, tuple[str, ...]]:
    """What evaluation needs of a run's recipe, and in sentences what is installed otherwise than it was.

    Where a head is missing there are none, and evaluation has the features alone.

    Raises:
        RecipeError: the data set or the backbone cannot be used.
    """
    notes = version_differences(run)
    try:
        return load_network_recipe(run.recipe), notes
    except RecipeError as error:
        try:
            return load_network_recipe(run.recipe, heads=False), (
                *notes,
                f"without its head, only features are evaluated: {error.problems[0].message}",
            )
        except RecipeError:
            raise error from None


def version_differences(run: Run) -> tuple[str, ...]:
    """Components that are missing, or of another version than the run was trained with."""
    catalog = Catalog.scan()
    found = []
    for recorded in read_provenance(run)["components"].values():
        kind, name, distribution = find_kind(recorded["kind"]), recorded["name"], recorded["distribution"]
        was = f"{kind.singular} {name!r} of {distribution} {recorded['version']}".rstrip()
        try:
            entry = catalog.find(kind, f"{distribution}:{name}")
        except UnknownComponentError:
            gone = "is not registered here" if distribution == THIS_PROCESS else "is not installed"
            found.append(f"the {was}, which the run was trained with, {gone}")
            continue
        if entry.version != recorded["version"]:
            found.append(f"the run was trained with the {was}; installed is {entry.version}")
    return tuple(dict.fromkeys(found))
