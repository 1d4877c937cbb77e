"""Print the published results of both reports next to ours, and all records of CIFAR-10, including failed runs.

    python benchmarks/accuracy/table.py

A result of ours that has no record is replaced by the command that measures it. Training times above 90 minutes, the
limit for runs in this repository, are in brackets.
"""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.accuracy.reports import report_tables
from benchmarks.common import RECORDS

MIN_WIDTH = 260
"""Width of the tables in characters, so that no number is truncated; a narrower terminal wraps the lines."""

MAX_MINUTES = 90
"""Maximum training time in minutes."""


def metric_cells(record: dict[str, Any], evaluator: str, *names: str) -> list[str]:
    """Return the latest metrics of an evaluator on the run's own data, in percent, one cell per name.

    The metric of random weights follows in brackets. A cell is empty if the metric is missing.
    """
    results = [each["evaluators"][evaluator] for each in record["evaluations"] if evaluator in each["evaluators"]]
    own = [each for each in results if names[0] in each["metrics"] and "data_options" not in each["protocol"]]
    metrics, baseline = (own[-1]["metrics"], random_weights(own[-1])) if own else ({}, {})
    cells = []
    for name in names:
        in_brackets = f" ({100 * baseline[name]:.1f})" if name in baseline else ""
        cells.append(f"{100 * metrics[name]:.1f}{in_brackets}" if name in metrics else "")
    return cells


def random_weights(result: dict[str, Any]) -> dict[str, Any]:
    """Return the metrics of the baseline with random weights, or an empty dictionary without this baseline."""
    return dict(result["baselines"].get("random_weights", {}).get("metrics", {}))


def training_table(records: dict[str, dict[str, Any]]) -> Table:
    """Return a table with one row for each record."""
    columns = ("record", "backbone", "epochs", "minutes", "seed", "state", "ACC", "NMI", "AMI", "ARI", "kNN", "linear")
    table = Table(*columns, title="CIFAR-10 test, % (with random weights)", title_justify="left")
    for name, record in records.items():
        recipe = record["recipe"]
        parts = continued_records(record, records)
        minutes = sum(part["minutes"] for part in parts)
        table.add_row(
            name,
            recipe["backbone"]["use"].rpartition(":")[2],
            " + ".join(str(part["recipe"]["train"]["epochs"]) for part in parts),
            f"{minutes:.0f}" if minutes <= MAX_MINUTES else f"({minutes:.0f})",
            str(record["seed"]),
            record["state"],
            *metric_cells(record, "cluster", "acc", "nmi", "ami", "ari"),
            *metric_cells(record, "knn", "top1"),
            *metric_cells(record, "linear", "top1"),
        )
    table.columns[0].no_wrap = True
    return table


def continued_records(record: dict[str, Any], records: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the records of the runs that a record's run continues, oldest first, followed by the record itself.

    The record of a parent run is recognised by its seed and its number of steps.
    """
    steps_before = (record.get("trained_with", {}).get("continued_from") or {}).get("steps")
    parents = [each for each in records.values() if (each["seed"], each["steps"]) == (record["seed"], steps_before)]
    return [*(continued_records(parents[0], records) if parents else []), record]


def fraction_table(records: dict[str, dict[str, Any]]) -> Table:
    """Return a table of results with few labels, one row per fraction, compared with random weights."""
    columns = ("record", "evaluation", "labels", "top-1", "random weights")
    table = Table(*columns, title="Few labels, %", title_justify="left")
    for name, record in records.items():
        for evaluation in record["evaluations"]:
            for evaluator in (name for name in ("linear", "finetune") if name in evaluation["evaluators"]):
                result = evaluation["evaluators"][evaluator]
                baseline = random_weights(result).get("fractions", {})
                for fraction, metrics in result["metrics"].get("fractions", {}).items():
                    accuracies = (top1_cell(metrics), top1_cell(baseline.get(fraction, {})))
                    table.add_row(name, evaluator, f"{100 * float(fraction):g} %", *accuracies)
    table.columns[0].no_wrap = True
    return table


def top1_cell(metrics: dict[str, float]) -> str:
    """Format the top-1 accuracy in percent, with its standard deviation; return an empty string if it is missing."""
    if "top1" not in metrics:
        return ""
    deviation = f" ± {100 * metrics['top1_std']:.1f}" if "top1_std" in metrics else ""
    return f"{100 * metrics['top1']:.1f}{deviation}"


def main() -> None:
    """Print the tables and the note of each record."""
    records = {path.stem: json.loads(path.read_text()) for path in sorted((RECORDS / "cifar10").glob("*.json"))}
    console = Console(width=max(Console().width, MIN_WIDTH))
    for table in report_tables(RECORDS):
        console.print(table)
    console.print(training_table(records))
    for name, record in records.items():
        console.print(f"{name}: {record['note']}", markup=False, highlight=False)
    few = fraction_table(records)
    if few.row_count:
        console.print(few)


if __name__ == "__main__":
    main()
