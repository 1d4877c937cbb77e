"""Evaluations as rows of text: figures with their baselines, and the protocol in lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sslkit.runs.evaluation_result import EvaluationResult, EvaluatorResult


def rows(name: str, result: EvaluatorResult) -> tuple[list[str], list[list[str]]]:
    """One evaluator's figures and baselines.

    Args:
        name: the evaluator's.
        result: its result.

    Returns:
        The names of the figures, and a row for the run, for each fraction of the labels, and for each baseline: its
        label, then a text for each figure, empty where it has none.
    """
    found = parts(name, result.metrics)
    for baseline, other in result.baselines.items():
        found += parts(_words(baseline), other.metrics)
    columns = list(dict.fromkeys(figure for *_, figures in found for figure in figures if not figure.endswith("_std")))
    names = [figure.replace("_", " ") for figure in columns]
    return names, [[label, *(_cell(figures, figure) for figure in columns)] for label, _, figures in found]


def table(results: Mapping[str, EvaluatorResult]) -> tuple[list[str], list[list[str]]]:
    """The figures of several evaluators, one below the other, with their baselines beside them.

    Args:
        results: results by name of the evaluator.

    Returns:
        The names of the columns, the trained network's first, then the baselines'; and a row for each figure: its name,
        such as ``linear 10 % top1``, then a text for each column, empty where it has none.
    """
    cells: dict[str, dict[str, str]] = {}
    for name, result in results.items():
        networks = {"trained": result.metrics}
        networks |= {_words(baseline): other.metrics for baseline, other in result.baselines.items()}
        for column, figures in networks.items():
            for label, _, found in parts(name, figures):
                for figure in (figure for figure in found if not figure.endswith("_std")):
                    row = cells.setdefault(f"{label} {figure.replace('_', ' ')}", {})
                    row[column] = _cell(found, figure)
    columns = list(dict.fromkeys(column for row in cells.values() for column in row))
    return columns, [[name, *(row.get(column, "") for column in columns)] for name, row in cells.items()]


def full_protocol(result: EvaluatorResult) -> dict[str, Any]:
    """Return the protocol of an evaluator and, by name of the baseline, the entries in which a baseline's differs."""
    whole = dict(result.protocol)
    for name, baseline in result.baselines.items():
        differs = {key: value for key, value in baseline.protocol.items() if value != result.protocol.get(key)}
        whole |= {_words(name): differs} if differs else {}
    return whole


def _words(name: str) -> str:
    return name.replace("_", " ")


def protocol(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """What a protocol says, each with the keys that lead to it."""
    found: list[tuple[str, Any]] = []
    for key, value in tree.items():
        found += protocol(value, f"{prefix}{key} ") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
    return found


def elsewhere(protocol: Mapping[str, Any], own: str) -> str:
    """Name of the data that figures are of, where these are others than the run's own; else empty.

    Args:
        protocol: of the figures.
        own: name of the run's own data; may be empty where it is not known.
    """
    data, options = str(protocol.get("data", "")), protocol.get("data_options")
    if isinstance(options, Mapping):
        told = ", ".join(f"{key}={value}" for key, value in options.items())
        return f"{data} ({told})" if told else data
    name = data.partition(":")[0]  # what follows describes it
    return "" if not own or name in ("", own, "the run's own") else name


def titled(name: str, protocol: Mapping[str, Any], own: str) -> str:
    """An evaluator's name, and that of the data where these are others than the run's own."""
    where = elsewhere(protocol, own)
    return f"{name} on {where}" if where else name


def newest(evaluations: Iterable[EvaluationResult], own: str) -> dict[str, tuple[str, EvaluatorResult]]:
    """Of evaluations, oldest first, the newest that each evaluator has its figures in, apart for other data.

    Returns:
        By ``titled``: the evaluator's name, and its result.
    """
    return {
        titled(name, result.protocol, own): (name, result)
        for evaluation in evaluations
        for name, result in evaluation.evaluators.items()
    }


def parts(label: str, figures: Mapping[str, Any]) -> list[tuple[str, float, dict[str, Any]]]:
    """An evaluator's numbers: those on all labels, as named, and with each fraction of the labels.

    Returns:
        For each: a label such as ``linear 10 %``, the fraction, and the numbers by figure.
    """
    numbers = {figure: value for figure, value in figures.items() if isinstance(value, (int, float))}
    found = [(label, 1.0, numbers)] if numbers else []
    if named := figures.get("named"):
        found.append((f"{label} as named", 1.0, dict(named)))
    fractions = figures.get("fractions", {})
    return found + [(f"{label} {100 * float(part):g} %", float(part), dict(own)) for part, own in fractions.items()]


def _cell(figures: Mapping[str, Any], figure: str) -> str:
    value = figures.get(figure)
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    spread = figures.get(f"{figure}_std")
    return f"{value:.3f}" if spread is None else f"{value:.3f} ± {spread:.3f}"
