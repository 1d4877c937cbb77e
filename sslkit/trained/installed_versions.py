"""Compare the installed versions of components with those that a run was trained with."""

from __future__ import annotations

from sslkit.components.catalog import THIS_PROCESS, Catalog
from sslkit.components.kinds import find_kind
from sslkit.errors import RecipeError, UnknownComponentError
from sslkit.recipe.load import load_network_recipe
from sslkit.recipe.recipe import NetworkRecipe
from sslkit.runs.provenance_file import read_provenance
from sslkit.runs.run import Run


def load_trained_recipe(run: Run) -> tuple[NetworkRecipe, tuple[str, ...]]:
    """Return the recipe of a run's network, and sentences for the user about differences from the training run.

    The sentences are those of ``version_differences`` and ``corrections_note``. If a head is not installed, the recipe
    is returned without heads, so only features can be evaluated, and another sentence reports this.

    Raises:
        RecipeError: the data set or the backbone is not installed or has invalid options.
    """
    notes = (*version_differences(run), *corrections_note(run))
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
    """Return a sentence for each component that is not installed, or whose version differs from the run's version."""
    catalog = Catalog.scan()
    sentences = []
    for recorded in read_provenance(run)["components"].values():
        kind, name, distribution = find_kind(recorded["kind"]), recorded["name"], recorded["distribution"]
        component = f"{kind.singular} {name!r} of {distribution} {recorded['version']}".rstrip()
        try:
            entry = catalog.find(kind, f"{distribution}:{name}")
        except UnknownComponentError:
            missing = "is not registered here" if distribution == THIS_PROCESS else "is not installed"
            sentences.append(f"the {component}, which the run was trained with, {missing}")
            continue
        if entry.version != recorded["version"]:
            sentences.append(f"the run was trained with the {component}; installed is {entry.version}")
    return tuple(dict.fromkeys(sentences))


def corrections_note(run: Run) -> tuple[str, ...]:
    """Return a sentence for the user if the head was trained with a user's corrections of another run's classes.

    Without such corrections, the tuple is empty.
    """
    source = read_provenance(run).get("corrected_from")
    if source is None:
        return ()
    count = "1 image" if source["images"] == 1 else f"{source['images']} images"
    return (
        f"the head was trained with the corrections of {source['run']} ({count}); class numbers of the two runs differ",
    )
