"""Start a new run from the backbone and head weights of a finished run."""

from __future__ import annotations

from dataclasses import replace

from sslkit.assembly.start import Start
from sslkit.contracts.preprocessing import Preprocessing
from sslkit.errors import RecipeError
from sslkit.recipe.recipe import Recipe
from sslkit.runs.provenance_file import ParentRun, parent_epochs
from sslkit.runs.run import Run
from sslkit.runs.weights_metadata import read_backbone_metadata, read_head_metadata


def parent_record(parent: Run) -> ParentRun:
    """Return the entry in ``provenance.json`` about the finished run that a new run continues."""
    metadata = read_backbone_metadata(parent.backbone)
    steps = metadata["step"] + metadata["context"].get("steps_before", 0)
    return {"run": parent.name, "steps": steps, "epochs": parent_epochs(parent) + metadata["context"]["epochs"]}


def start_after(parent: Run | None) -> Start:
    """Return the start of a new run: the parent's weights or, without a parent, the recipe's initial weights."""
    if parent is None:
        return Start()
    record = parent_record(parent)
    context = read_backbone_metadata(parent.backbone)["context"]
    return Start(
        "network",
        steps_before=record["steps"],
        epochs_before=record["epochs"],
        parent=parent,
        preprocessing=Preprocessing(
            context["image_size"], tuple(context["mean"]), tuple(context["std"]), context["interpolation"]
        ),
    )


def keep_classifier(recipe: Recipe, parent: Run | None) -> Recipe:
    """Replace ``evaluation.classifier = "parent"`` with the parent's head and classifier, and return the recipe.

    Raises:
        RecipeError: there is no parent, or ``evaluation.head`` is not the parent's head.
        RunError: the parent's weights cannot be read.
    """
    if recipe.evaluation.classifier != "parent":
        return recipe
    if parent is None:
        message = "this run continues no other run: use --continue-from RUN, or set it to an index or 'lowest-loss'"
        raise RecipeError([recipe.document.problem(("evaluation", "classifier"), message)])
    metadata = read_head_metadata(parent.heads)
    if recipe.evaluation.head not in ("", metadata["head"]):
        message = f"{parent.name} has its classifier in the head {metadata['head']!r}: remove this key"
        raise RecipeError([recipe.document.problem(("evaluation", "head"), message)])
    kept = {name: metadata[name] for name in ("head", "classifier")}
    return replace(recipe, evaluation=recipe.evaluation.model_copy(update=kept))
