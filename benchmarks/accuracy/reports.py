"""Tables of the two reports' published results, with our results from records below each published row."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.common import ROOT
from sslkit.reporting.references import Reference, Row, read_reference

OURS = Path(__file__).with_suffix(".toml")
"""File that lists our runs for each published row."""

COLUMNS_A = {
    "ACC": ("cluster", "acc"),
    "NMI": ("cluster", "nmi"),
    "AMI": ("cluster", "ami"),
    "ARI": ("cluster", "ari"),
    "linear": ("linear", "top1"),
}
"""Evaluator and metric of each column of report A's table."""

Ours = dict[str, Any]
"""A run of ours, an entry of ``reports.toml``."""


def report_tables(records: Path) -> list[Table]:
    """Return the tables of report A and report B, filled from the records in a folder."""
    ours = tomllib.loads(OURS.read_text())
    return [
        table_a(read_published("report-a"), ours["report-a"], records),
        table_b(read_published("report-b"), ours["report-b"], records),
    ]


def read_published(name: str) -> Reference:
    """Return a file of published results in ``recipes/paper/references``."""
    return read_reference(ROOT / "recipes" / "paper" / "references" / f"{name}.toml")


def table_a(published: Reference, ours: list[dict[str, Any]], records: Path) -> Table:
    """Return the table of unsupervised classification on CIFAR-10."""
    table = new_table("Report A: CIFAR-10 test, %", published, "result", *COLUMNS_A, "record")
    aliases = published.aliases
    for row in published.rows:
        names = [" ".join(names) for names in COLUMNS_A.values()]
        values = [row.metrics.get(name, row.metrics.get(aliases.get(name, ""))) for name in names]
        table.add_row(f"report A: {row.label}", *map(percent, values), "")
        for run in runs_of(row, ours):
            record = read_record(records, run["record"])
            cells = [percent(metric_of(record, *names)) for names in COLUMNS_A.values()]
            table.add_row(f"  {run['recipe']}", *cells, source_of(run, record))
    return table


def table_b(published: Reference, ours: list[dict[str, Any]], records: Path) -> Table:
    """Return the table of fine-tuning on CIFAR-100, with top-1 and top-5 accuracy for each fraction of the labels."""
    groups = published.rows[0].groups
    fractions = [float(group.split()[1]) / 100 for group in groups]
    columns = [group.removeprefix("finetune ") for group in groups]
    table = new_table(
        "Report B: CIFAR-100 test, top-1 / top-5 after fine-tuning with a part of the labels, %",
        published, "result", *columns, "record",
    )  # fmt: skip
    for row in published.rows:
        cells = [
            " / ".join(f"{100 * row.metrics[f'{group} {name}']:.2f}" for name in ("top1", "top5")) for group in groups
        ]
        table.add_row(f"report B: {row.label}", *cells, "")
        for run in runs_of(row, ours):
            record = read_record(records, run["record"])
            results = record["results"] if record else []
            cells = [fraction_cell(results, run["network"], "finetune", fraction) for fraction in fractions]
            source = run["record"] if all(cells) else f"not run yet: {fractions_command(run)}"
            table.add_row(f"  {run['record']}, {run['network']}", *cells, source)
    return table


def new_table(title: str, published: Reference, *columns: str) -> Table:
    """Return an empty table whose caption names the publication."""
    table = Table(*columns, title=title, title_justify="left")
    table.caption = f"{published.source}; {published.protocol}"
    for column in table.columns:
        column.no_wrap = True
    return table


def runs_of(row: Row, ours: list[dict[str, Any]]) -> list[Ours]:
    """Return our runs for a published row."""
    return [run for entry in ours if entry["label"] == row.label for run in entry["ours"]]


def read_record(records: Path, name: str) -> dict[str, Any] | None:
    """Return a record, or None if there is none yet."""
    path = records / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def metric_of(record: dict[str, Any] | None, evaluator: str, name: str) -> float | None:
    """Return the latest metric of an evaluator on the run's own data, or None if it is missing."""
    results = [each["evaluators"].get(evaluator) for each in record["evaluations"]] if record else []
    own = [result["metrics"] for result in results if result and "data_options" not in result["protocol"]]
    values = [metrics[name] for metrics in own if name in metrics]
    return values[-1] if values else None


def source_of(run: Ours, record: dict[str, Any] | None) -> str:
    """Return the name of a run's record, or the command that writes it."""
    if record is None:
        return f"not run yet: {train_command(run)}"
    name = str(run["record"])
    return name if record["state"] == "finished" else f"{name} ({record['state']})"


def percent(value: float | None) -> str:
    """Format a metric in [0, 1] in percent; return an empty string for None."""
    return "" if value is None else f"{100 * value:.1f}"


def train_command(run: Ours) -> str:
    """Return the command that writes the record of a training run."""
    name = run["record"].partition("/")[2]
    parent = f" --continue-from {run['continue_from']}" if "continue_from" in run else ""
    return f"python benchmarks/accuracy/cifar10.py {name} {run['recipe']}{parent}"


def fractions_command(run: Ours) -> str:
    """Return the command that writes a record of fine-tuning."""
    name = run["record"].partition("/")[2]
    return f"python benchmarks/accuracy/finetune_fractions.py benchmarks/accuracy/fractions/{name}.toml"


def fraction_cell(results: list[dict[str, Any]], network: str, evaluator: str, fraction: float) -> str:
    """Return the mean top-1 and top-5 accuracy in percent with the number of draws, such as ``12.3 / 30.1 (n = 3)``."""
    key = (network, evaluator, fraction)
    found = [result for result in results if (result["network"], result["evaluator"], result["fraction"]) == key]
    if not found:
        return ""
    means = [sum(result[name] for result in found) / len(found) for name in ("top1", "top5") if name in found[0]]
    return " / ".join(f"{100 * value:.2f}" for value in means) + f" (n = {len(found)})"
