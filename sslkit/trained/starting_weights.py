"""Weights that the training of a finished run started from."""

from __future__ import annotations

from sslkit.assembly.initial_weights import find_weights
from sslkit.contracts.backbone import Backbone
from sslkit.errors import InputError, RunError
from sslkit.recipe.recipe import NetworkRecipe
from sslkit.runs.find import find_finished_run
from sslkit.runs.provenance_file import read_provenance
from sslkit.runs.run import Run
from sslkit.runs.weights import hash_state, load_weights


def load_starting_weights(run: Run, recipe: NetworkRecipe, backbone: Backbone) -> tuple[str, Run | None]:
    """Load the weights that a run started from: the weights of its parent run, or the value of ``[backbone] weights``.

    Args:
        run: a finished run.
        recipe: the part of the run's recipe that describes the network.
        backbone: the backbone to load the weights into, on the CPU.

    Returns:
        A sentence about the origin of the weights, and the parent run (None if there is none).

    Raises:
        InputError: the run started from random weights, or its weights or its parent have changed since.
        RunError: the parent run does not exist, or its weights are damaged.
        RecipeError: the weights that the recipe names do not exist.
    """
    record = read_provenance(run)
    parent = None
    if "continued_from" in record:
        name = record["continued_from"]["run"]
        try:
            parent = find_finished_run(name, run.path.parent.parent)[0]
        except RunError as error:
            raise RunError(f"{run.name} continues {name}, whose weights are needed: {error}") from error
        load_weights(backbone, parent.backbone)
        origin = f"backbone and heads of {parent.name}"
    else:
        weights = find_weights(recipe)
        if weights is None:
            raise InputError(
                f"{run.name} started from random weights, so that there are no pretrained weights to compare with: "
                "use the baseline random"
            )
        origin = weights.load(backbone)
    expected = record.get("initial_backbone_sha256")
    if expected and hash_state(backbone) != expected:
        raise InputError(
            f"{run.name} did not start from these weights ({origin}): they have changed since, so that they cannot be "
            "the baseline pretrained"
        )
    return origin, parent
