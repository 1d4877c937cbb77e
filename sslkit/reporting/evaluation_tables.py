"""Tables of evaluation metrics, and protocols as lines of text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sslkit.runs.evaluation_result import EvaluationResult, EvaluatorResult

TRAINED = "trained"
"""Title of the column with the trained network's metrics; the other columns are baselines."""


def metric_groups(label: str, metrics: Mapping[str, Any]) -> list[tuple[str, float, dict[str, Any]]]:
    """Split an evaluator's metrics into groups, which are rows of the tables.

    The groups are the metrics with all labels, the metrics after classes with the same name are merged, the metrics
    with a user's corrections, and the metrics with each fraction of the labels.

    Args:
        label: title of the evaluator or baseline; the title of each group starts with it.
        metrics: all metrics of the evaluator or baseline.

    Returns:
        For each group, its title, such as ``linear 10 %``, the fraction of the labels in [0, 1], and its metrics.
    """
    numbers = {name: value for name, value in metrics.items() if isinstance(value, (int, float))}
    groups = [(label, 1.0, numbers)] if numbers else []
    if named := metrics.get("named"):
        groups.append((f"{label} as named", 1.0, dict(named)))
    if corrected := metrics.get("corrected"):
        groups.append((f"{label} with corrections", 1.0, dict(corrected)))
    fractions = metrics.get("fractions", {})
    return groups + [(f"{label} {100 * float(part):g} %", float(part), dict(own)) for part, own in fractions.items()]


def evaluator_table(name: str, result: EvaluatorResult) -> tuple[list[str], list[list[str]]]:
    """Tabulate the metrics of the evaluator ``name``, with a column for each metric.

    Returns:
        The names of the metrics, and the rows: one for each group of metrics (see ``metric_groups``) of the run and of
        each baseline. A row is a title and a text for each metric. The text of a missing metric is empty.
    """
    groups = metric_groups(name, result.metrics)
    for baseline, other in result.baselines.items():
        groups += metric_groups(baseline_title(baseline), other.metrics)
    columns = list(dict.fromkeys(metric for *_, metrics in groups for metric in _shown(metrics)))
    rows = [[label, *(_cell(metrics, metric) for metric in columns)] for label, _, metrics in groups]
    return [_words(metric) for metric in columns], rows


def metrics_table(results: Mapping[str, EvaluatorResult]) -> tuple[list[str], list[list[str]]]:
    """Tabulate the metrics of multiple evaluators, with a row for each metric and a column for each network.

    Returns:
        The names of the columns, ``trained`` and then the baselines, and the rows. A row has a name such as ``linear 10
        % top1`` and a text for each column. The text of a missing metric is empty.
    """
    cells: dict[str, dict[str, str]] = {}
    for name, result in results.items():
        networks = [(TRAINED, result.metrics)]
        networks += [(baseline_title(baseline), other.metrics) for baseline, other in result.baselines.items()]
        for column, all_metrics in networks:
            for label, _, metrics in metric_groups(name, all_metrics):
                for metric in _shown(metrics):
                    cells.setdefault(f"{label} {_words(metric)}", {})[column] = _cell(metrics, metric)
    columns = list(dict.fromkeys(column for row in cells.values() for column in row))
    return columns, [[name, *(row.get(column, "") for column in columns)] for name, row in cells.items()]


def baseline_title(name: str) -> str:
    """Return the column title of a baseline, which always differs from ``TRAINED``, the trained network's title."""
    words = _words(name)
    return f"baseline {words}" if words == TRAINED else words


def full_protocol(result: EvaluatorResult) -> dict[str, Any]:
    """Return an evaluator's protocol, and the entries in which the protocol of each baseline differs from it.

    The entries of a baseline are in a dict under the baseline's title.
    """
    protocol = dict(result.protocol)
    for name, baseline in result.baselines.items():
        differs = {key: value for key, value in baseline.protocol.items() if value != result.protocol.get(key)}
        protocol |= {baseline_title(name): differs} if differs else {}
    return protocol


def protocol_summary(results: Mapping[str, EvaluatorResult]) -> str:
    """Summarise the protocols of results in one sentence: evaluators, images, seeds, corrections and baselines.

    Example: ``cluster, knn: 359 test images of digits, seed 7, baselines kmeans pixels, random weights``.
    Evaluators with the same images and seeds are named together, and semicolons separate such groups.
    """
    groups: dict[str, dict[str, EvaluatorResult]] = {}
    for name, result in results.items():
        groups.setdefault(", ".join(_protocol_parts(result)), {})[name] = result
    sentences = []
    for text, members in groups.items():
        baselines = dict.fromkeys(baseline for result in members.values() for baseline in result.baselines)
        compared = f", baselines {', '.join(map(baseline_title, baselines))}" if baselines else ""
        sentences.append(f"{', '.join(members)}: {text}{compared}")
    return "; ".join(sentences)


def _protocol_parts(result: EvaluatorResult) -> list[str]:
    protocol = result.protocol
    parts = [f"{protocol.get('images', '?')} {protocol.get('split', '')} images of {protocol.get('data', '?')}"]
    if "seed" in protocol:
        parts.append(f"seed {protocol['seed']}")
    trainings = protocol.get("trainings")
    if isinstance(trainings, Mapping) and max(trainings.values(), default=1) > 1:
        parts.append(f"{max(trainings.values())} subsets of each fraction of the labels")
    corrections = protocol.get("corrections")
    if isinstance(corrections, Mapping):
        parts.append(f"corrections of {_count(corrections.get('images'), 'image')}")
    if trained_with := protocol.get("trained_with_corrections"):
        parts.append(f"trained with corrections of {_count(trained_with, 'image')}")
    return parts


def flatten(tree: Mapping[str, Any], separator: str = " ", prefix: str = "") -> list[tuple[str, Any]]:
    """Return the path and the value of each entry of a nested table.

    A path is ``prefix``, followed by the keys that lead to the value, joined by ``separator``:
    ``{"knn": {"k": 20}}`` becomes ``[("knn k", 20)]``.
    """
    values: list[tuple[str, Any]] = []
    for key, value in tree.items():
        path = f"{prefix}{key}"
        values += flatten(value, separator, path + separator) if isinstance(value, Mapping) else [(path, value)]
    return values


def format_value(value: Any) -> str:
    """Format a JSON value for display; an empty list becomes ``none``."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(format_value, value)) or "none"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, bool)) or value is None else str(value)


def evaluator_title(name: str, protocol: Mapping[str, Any], run_data: str) -> str:
    """Return an evaluator's name, followed by the data set if that is not the run's own, as in ``linear on svhn``.

    The prefix ``sslkit:`` is removed, so ``sslkit:linear`` and ``linear`` have the same title.

    Args:
        name: name of the evaluator.
        protocol: protocol of the evaluator.
        run_data: name of the run's data set, or ``""`` if unknown.
    """
    name = name.removeprefix("sslkit:")
    data, options = str(protocol.get("data", "")), protocol.get("data_options")
    if isinstance(options, Mapping):
        settings = ", ".join(f"{key}={value}" for key, value in options.items())
        data = f"{data} ({settings})" if settings else data
    else:
        data = data.partition(":")[0]  # a description may follow the name
        if not run_data or data in (run_data, "the run's own"):
            return name
    return f"{name} on {data}" if data else name


def latest_results(evaluations: Iterable[EvaluationResult], run_data: str) -> dict[str, tuple[str, EvaluatorResult]]:
    """Return the latest result of each evaluator on each data set.

    Args:
        evaluations: evaluations of one run, oldest first.
        run_data: name of the run's data set, or ``""`` if unknown.

    Returns:
        The name and the result of each evaluator, keyed by ``evaluator_title``.
    """
    return {
        evaluator_title(name, result.protocol, run_data): (name, result)
        for evaluation in evaluations
        for name, result in evaluation.evaluators.items()
    }


def format_metric(value: float | None) -> str:
    """Format a metric with three decimals. An integer has no decimals, and None becomes an empty string."""
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.3f}"


def _count(number: object, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _shown(metrics: Mapping[str, Any]) -> list[str]:
    return [metric for metric in metrics if not metric.endswith("_std")]


def _cell(metrics: Mapping[str, Any], metric: str) -> str:
    value = metrics.get(metric)
    if not isinstance(value, float):
        return "" if value is None else str(value)
    deviation = metrics.get(f"{metric}_std")
    return format_metric(value) if deviation is None else f"{value:.3f} ± {deviation:.3f}"
