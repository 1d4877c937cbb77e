"""Runs side by side, and beside what was published."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from sslkit.errors import RunError
from sslkit.records import read_evaluations
from sslkit.reporting.references import Reference
from sslkit.runs import Run

NO_EVALUATION = ("run", "protocol", "baselines")


def figures_of(run: Run) -> tuple[dict[str, float], dict[str, Any]]:
    """A run's newest figure of every name, such as ``cluster acc`` or ``linear 10 % top1``, and their protocols.

    Raises:
        RunError: the run has not been evaluated.
    """
    figures: dict[str, float] = {}
    protocols: dict[str, Any] = {}
    evaluations, _ = read_evaluations(run)
    for evaluation in evaluations:
        for name, found in evaluation.items():
            if name in NO_EVALUATION:
                continue
            protocols[name] = evaluation["protocol"][name]
            figures |= _numbers(name, found)
            figures |= _numbers(f"{name} as named", found.get("named", {}))
            for part, own in found.get("fractions", {}).items():
                figures |= _numbers(f"{name} {100 * float(part):g} %", own)
    if not figures:
        raise RunError(f"{run.name} has not been evaluated: `sslkit eval {run.path}` does that")
    return figures, protocols


def _numbers(name: str, found: Mapping[str, Any]) -> dict[str, float]:
    return {f"{name} {figure}": value for figure, value in found.items() if isinstance(value, float)}


def compare(runs: Sequence[Run], reference: Reference | None = None) -> dict[str, Any]:
    """Figures of runs by name, published ones beside them, and where protocols and settings differ.

    Returns:
        ``{"rows": [{"label", "figures"}], "differences": [sentence], "reference": {"source", "protocol"}}``.

    Raises:
        RunError: a run has not been evaluated, or its recipe cannot be read.
    """
    measured = [(run, *figures_of(run)) for run in runs]
    rows: list[dict[str, Any]] = [{"label": run.name, "figures": figures} for run, figures, _ in measured]
    differences: list[str] = []
    first, _, protocols = measured[0]
    for run, _, own in measured[1:]:
        for evaluator in protocols.keys() & own.keys():
            before, now = protocols[evaluator], own[evaluator]
            differences += [
                f"{evaluator}: {key} is {now.get(key)!r} in {run.name}, {before.get(key)!r} in {first.name}"
                for key in sorted(before.keys() | now.keys())
                if before.get(key) != now.get(key)
            ]
    result: dict[str, Any] = {"rows": rows, "differences": differences}
    if reference is not None:
        known = {name for row in rows for name in row["figures"]}
        shared = [row for row in reference.rows if row.figures.keys() & known] or list(reference.rows)
        rows += [{"label": row.label, "figures": dict(row.figures)} for row in shared]
        result["reference"] = {"source": reference.source, "protocol": reference.protocol}
        for run, _, _ in measured:
            recipe = _recipe(run)
            for row in shared:
                found = {key: _at(recipe, key) for key in row.settings}
                differences += [
                    f"{run.name}: {key} is {found[key]!r}, {expected!r} in {row.label!r}"
                    for key, expected in row.settings.items()
                    if found[key] != expected
                ]
    return result


def _recipe(run: Run) -> dict[str, Any]:
    try:
        return tomllib.loads(run.recipe.read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{run.recipe} cannot be read: {error}") from error


def _at(recipe: Mapping[str, Any], key: str) -> Any:
    """The value at ``section.option``; of several heads, the first; names without their distribution."""
    section, option = key.split(".")
    table = recipe.get(section, {})
    value = (table[0] if isinstance(table, list) else table).get(option)
    return value.rpartition(":")[2] if option == "use" and isinstance(value, str) else value
