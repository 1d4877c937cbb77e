"""Runs side by side, and beside what was published."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sslkit.errors import RunError
from sslkit.files import read_regular_file
from sslkit.reporting.differences import at, between, from_published
from sslkit.reporting.evaluations import parts, titled
from sslkit.reporting.references import Reference
from sslkit.runs.evaluation_files import read_evaluations
from sslkit.runs.provenance_file import parent_epochs
from sslkit.runs.run import Run


@dataclass(frozen=True)
class Measured:
    """What a run is compared by.

    Attributes:
        name: the run's.
        settings: its recipe, with the epochs of all runs that it continues, which ``continued_from.epochs`` tells.
        figures: the newest of every name, such as ``cluster acc``, ``linear 10 % top1`` or ``linear on svhn top1``.
        protocols: how they were obtained, by the part of the name before the figure.
        notes: what was left out, and why.
    """

    name: str
    settings: dict[str, Any]
    figures: dict[str, float]
    protocols: dict[str, dict[str, Any]]
    notes: list[str]


def measured(run: Run) -> Measured:
    """A run's newest figures.

    Raises:
        RunError: the run has not been evaluated, or its recipe cannot be read.
    """
    evaluations, damaged = read_evaluations(run)
    notes = [f"{path} is left out: {why}" for path, why in damaged.items()]
    settings = _settings(run, notes)
    figures: dict[str, float] = {}
    protocols: dict[str, dict[str, Any]] = {}
    for evaluation in evaluations:
        for name, result in evaluation.evaluators.items():
            title = titled(name, result.protocol, str(at(settings, "data.use") or ""))
            for label, fraction, found in parts(title, result.metrics):
                of_label = {f"{label} {figure}": value for figure, value in found.items() if isinstance(value, float)}
                # Of several draws before, neither deviation nor names belong to what is newer.
                old = (label, f"{label} as named")
                figures = {key: value for key, value in figures.items() if key.rpartition(" ")[0] not in old} | of_label
                protocols[label] = _of(result.protocol, fraction)
    if not figures:
        reasons = "".join(f"; {note}" for note in notes)
        raise RunError(f"{run.name} has not been evaluated: `sslkit eval {run.path}` does that{reasons}")
    return Measured(run.name, settings, figures, protocols, notes)


def _of(protocol: Mapping[str, Any], fraction: float) -> dict[str, Any]:
    """The protocol of one fraction: of what it tells by fraction, that one's."""
    return {
        key: value.get(f"{fraction:g}", value) if isinstance(value, Mapping) else value
        for key, value in protocol.items()
    }


def compare(runs: Sequence[Run], reference: Reference | None = None) -> dict[str, Any]:
    """Figures of runs by name, published ones beside them, and where protocols and settings differ.

    Returns:
        ``{"rows": [{"label", "figures"}], "differences": [sentence], "notes": [sentence], "reference": {"source",
        "protocol"}}``; notes tell what was left out, and why.

    Raises:
        RunError: a run has not been evaluated, or its recipe cannot be read.
    """
    found = [measured(run) for run in runs]
    rows: list[dict[str, Any]] = [{"label": each.name, "figures": each.figures} for each in found]
    first, *others = found
    differences = [line for each in others for line in between(each.name, each.protocols, first.name, first.protocols)]
    result: dict[str, Any] = {
        "rows": rows,
        "differences": differences,
        "notes": [note for each in found for note in each.notes],
    }
    if reference is not None:
        shown = reference.beside({name for row in rows for name in row["figures"]})
        rows += [{"label": row.label, "figures": dict(row.figures)} for row in shown]
        result["reference"] = {"source": reference.source, "protocol": reference.protocol}
        for each in found:
            differences += from_published(each.name, each.settings, each.protocols, shown, reference.evaluations)
    return result


def _settings(run: Run, notes: list[str]) -> dict[str, Any]:
    try:
        recipe = tomllib.loads(read_regular_file(run.recipe))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{run.recipe} cannot be read: {error}") from error
    try:
        before = parent_epochs(run)
    except RunError as error:
        notes.append(f"whether {run.name} continues another run is not known: {error}")
        return recipe
    train = recipe.get("train")
    if before and isinstance(train, dict) and isinstance(train.get("epochs"), int):
        recipe["train"] = {**train, "epochs": train["epochs"] + before}
    return {**recipe, "continued_from": {"epochs": before}}
