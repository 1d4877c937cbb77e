"""Comparison of runs with each other and with published results."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sslkit.errors import RunError
from sslkit.files import read_regular_file
from sslkit.reporting.differences import protocol_differences, published_differences, setting
from sslkit.reporting.evaluation_tables import evaluator_title, latest_results, metric_groups
from sslkit.reporting.gains import gain_sentences
from sslkit.reporting.references import Reference
from sslkit.runs.evaluation_files import read_evaluations
from sslkit.runs.provenance_file import parent_epochs
from sslkit.runs.run import Run

BASELINE = " baseline "
"""Text between the names of a metric group and of a baseline, as in ``cluster baseline kmeans pixels``."""


@dataclass(frozen=True)
class RunMetrics:
    """A run's latest metrics, with the settings and protocols that the metrics depend on.

    Attributes:
        name: name of the run.
        settings: recipe of the run. ``train.epochs`` is the number of epochs of this run and of the earlier runs that
            it continues; ``continued_from.epochs`` is the number of epochs of the earlier runs alone.
        metrics: latest value of each metric, such as ``cluster acc``, ``linear 10 % top1``, ``linear on svhn top1`` or
            ``cluster baseline kmeans pixels acc``.
        protocols: protocol of each metric group. The name of a group is a metric's name without the last word.
        gains: sentences that compare the metrics with those of the weights that training started from.
        notes: warnings about damaged evaluation files, which are ignored, and a warning if it is unknown whether the
            run continues another run.
    """

    name: str
    settings: dict[str, Any]
    metrics: dict[str, float]
    protocols: dict[str, dict[str, Any]]
    gains: list[str]
    notes: list[str]


def run_metrics(run: Run) -> RunMetrics:
    """Return a run's latest metrics.

    Raises:
        RunError: the run has not been evaluated, or its recipe cannot be read.
    """
    evaluations, damaged = read_evaluations(run)
    notes = [f"{path} is left out: {reason}" for path, reason in damaged.items()]
    settings = _settings(run, notes)
    run_data = str(setting(settings, "data.use") or "")
    groups: dict[str, dict[str, Any]] = {}
    protocols: dict[str, dict[str, Any]] = {}
    for evaluation in evaluations:
        for name, result in evaluation.evaluators.items():
            title = evaluator_title(name, result.protocol, run_data)
            own = metric_groups(title, result.metrics)
            for label, fraction, values in own:
                # A new result of a group replaces all older results of that group, including baselines.
                older = (label, f"{label} as named", f"{label} with corrections")
                groups = {
                    group: old
                    for group, old in groups.items()
                    if group not in older and not group.startswith(f"{label}{BASELINE}")
                } | {label: values}
                protocols[label] = _protocol_at(result.protocol, fraction)
            for baseline, other in result.baselines.items():
                for label, _, values in metric_groups(title, other.metrics):
                    groups[f"{label}{BASELINE}{baseline.replace('_', ' ')}"] = values
    metrics = {
        f"{group} {metric}": value
        for group, values in groups.items()
        for metric, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    if not metrics:
        reasons = "".join(f"; {note}" for note in notes)
        raise RunError(f"{run.name} has not been evaluated; run `sslkit eval {run.path}`{reasons}")
    latest = latest_results(evaluations, run_data)
    gains = gain_sentences({title: result for title, (_, result) in latest.items()})
    return RunMetrics(run.name, settings, metrics, protocols, gains, notes)


def compare(runs: Sequence[Run], reference: Reference | None = None) -> dict[str, Any]:
    """Compare the latest metrics of runs, and list the differences in settings and protocol.

    Args:
        runs: evaluated runs. The protocol of each other run is compared with that of the first run.
        reference: published results to compare with.

    Returns:
        ``{"rows": [{"label", "metrics"}], "gains": [sentence], "differences": [sentence], "notes": [sentence],
        "reference": {"source", "protocol"}}``. Gains compare a run with the weights that it started from. Notes are
        those of ``RunMetrics``. The key ``reference`` exists only if the argument is given.

    Raises:
        RunError: a run has not been evaluated, or its recipe cannot be read.
    """
    measured = [run_metrics(run) for run in runs]
    rows: list[dict[str, Any]] = [{"label": run.name, "metrics": run.metrics} for run in measured]
    first, *others = measured
    differences = [
        line for run in others for line in protocol_differences(run.name, run.protocols, first.name, first.protocols)
    ]
    result: dict[str, Any] = {
        "rows": rows,
        "gains": [f"{run.name}: {line}" for run in measured for line in run.gains],
        "differences": differences,
        "notes": [note for run in measured for note in run.notes],
    }
    if reference is not None:
        published = reference.rows_for({name for row in rows for name in row["metrics"]})
        rows += [{"label": row.label, "metrics": row.metrics} for row in published]
        result["reference"] = {"source": reference.source, "protocol": reference.protocol}
        for run in measured:
            differences += published_differences(run.name, run.settings, run.protocols, published, reference)
    return result


def _protocol_at(protocol: Mapping[str, Any], fraction: float) -> dict[str, Any]:
    """Return the protocol of an evaluation with one fraction of the labels.

    If a setting of the protocol has a value for each fraction, such as ``{"0.1": 3, "1": 5}``, the result contains only
    the value for ``fraction``.
    """
    return {
        key: value.get(f"{fraction:g}", value) if isinstance(value, Mapping) else value
        for key, value in protocol.items()
    }


def _settings(run: Run, notes: list[str]) -> dict[str, Any]:
    try:
        recipe = tomllib.loads(read_regular_file(run.recipe))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{run.recipe} cannot be read: {error}") from error
    try:
        epochs = parent_epochs(run)
    except RunError as error:
        notes.append(f"it is unknown whether {run.name} continues another run: {error}")
        return recipe
    train = recipe.get("train")
    if epochs and isinstance(train, dict) and isinstance(train.get("epochs"), int):
        recipe["train"] = {**train, "epochs": train["epochs"] + epochs}
    return {**recipe, "continued_from": {"epochs": epochs}}
