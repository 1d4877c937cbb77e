"""Evaluations of a run: headline metrics, a table and curves for each evaluator, and published results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sslkit.reporting.compare import compare
from sslkit.reporting.evaluation_tables import evaluator_table, flatten, format_metric, format_value, full_protocol
from sslkit.reporting.gains import gain, gain_sentences
from sslkit.reporting.page_elements import FigureWriter, Table
from sslkit.reporting.references import Reference
from sslkit.reporting.sections.training_curves import evaluator_charts
from sslkit.reporting.sections.verdict import TITLES
from sslkit.runs.evaluation_result import EvaluatorResult
from sslkit.runs.run import Run

HEADLINES = (
    ("cluster", "acc", "cluster accuracy, one-to-one"),
    ("cluster", "nmi", "NMI"),
    ("linear", "top1", "linear probe, top-1"),
    ("linear-sgd", "top1", "linear probe trained by SGD, top-1"),
    ("knn", "top1", "kNN, top-1"),
    ("finetune", "top1", "fine-tuned, top-1"),
)
"""Metrics at the top of the page: evaluator, metric and label."""


def headline_metrics(latest: Mapping[str, tuple[str, EvaluatorResult]]) -> list[dict[str, Any]]:
    """Return the metrics for the top of the page.

    Each metric has a ``label``, a ``value``, and ``lines`` of text below the value: the same metric with the user's
    corrections, the metric of each k-means baseline, and the gain since the start of training.
    """
    headlines = []
    for evaluator, metric, label in HEADLINES:
        _, result = latest.get(evaluator, ("", None))
        value = result and result.metrics.get(metric)
        if result is None or not isinstance(value, float):
            continue
        corrected = result.metrics.get("corrected", {}).get(metric)
        lines = [f"{corrected:.3f} with corrections"] if isinstance(corrected, float) else []
        for name in ("kmeans_features", "kmeans_pixels"):
            other = result.baselines[name].metrics.get(metric) if name in result.baselines else None
            lines += [f"{other:.3f} {TITLES[name]}"] if isinstance(other, float) else []
        change = gain(result, metric)
        lines += [f"{change:+.3f} since the start"] if change is not None else []
        headlines.append({"label": label, "value": format_metric(value), "lines": lines})
    return headlines


def evaluation_section(
    index: int, title: str, name: str, result: EvaluatorResult, figures: FigureWriter
) -> dict[str, Any]:
    """Return the template variables of an evaluator's result: table, gains, charts and protocol.

    Args:
        index: index of the evaluator among those of the run.
        title: name of the evaluator on the page.
        name: name of the evaluator.
        result: the result.
        figures: converts and saves the charts.
    """
    columns, rows = evaluator_table(name, result)
    protocol = result.protocol
    images = f"{protocol.get('images', '?')} {protocol.get('split', '')} images of {protocol.get('data', '?')}"
    return {
        "name": title,
        "table": Table(("", *columns), rows, f"{title}: {images}", highlight_first=True),
        "gains": gain_sentences({title: result}),
        "charts": evaluator_charts(index, title, result.metrics.get("curves", []), figures),
        "protocol": [(key, format_value(value)) for key, value in flatten(full_protocol(result))],
    }


def published_section(run: Run, reference: Reference) -> dict[str, Any]:
    """Return the template variables of published results, with the run's metrics in the first row."""
    result = compare([run], reference)
    metrics = list(dict.fromkeys(metric for row in result["rows"][1:] for metric in row["metrics"]))
    rows = [
        [row["label"], *(format_metric(row["metrics"].get(metric)) for metric in metrics)] for row in result["rows"]
    ]
    table = Table(("", *metrics), rows, "Compared with published results", highlight_first=True)
    return {"table": table, "differences": result["differences"], **result["reference"]}
