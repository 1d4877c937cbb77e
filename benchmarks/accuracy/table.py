"""Prints the records of CIFAR-10 as tables: every try, the best ones and the failed ones alike, and published rows.

python benchmarks/accuracy/table.py

Minutes in brackets are more than a try of this repository may take.
"""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.common import ROOT
from sslkit.reporting.references import read_reference

RECORDS = ROOT / "benchmarks" / "records" / "cifar10"
NARROWEST = 160
"""Columns below which figures would be cut off; in a narrower terminal, lines are broken."""
LONGEST = 90
"""Minutes of training that a try may take."""
PUBLISHED = ("cluster acc", "cluster nmi", "cluster ami", "cluster ari", "knn top1", "linear-sgd top1")
"""Figures of a publication, in the order of the columns."""


def figures(record: dict[str, Any], evaluator: str, *names: str) -> list[str]:
    """Newest figures of an evaluator on the run's own data in percent, beside those of random weights; blank: none."""
    results = [each["evaluators"][evaluator] for each in record["evaluations"] if evaluator in each["evaluators"]]
    own = [each for each in results if names[0] in each["metrics"] and "data_options" not in each["protocol"]]
    found, floor = (own[-1]["metrics"], random_weights(own[-1])) if own else ({}, {})
    shown = []
    for name in names:
        beside = f" ({100 * floor[name]:.1f})" if name in floor else ""
        shown.append(f"{100 * found[name]:.1f}{beside}" if name in found else "")
    return shown


def random_weights(result: dict[str, Any]) -> dict[str, Any]:
    """Return an evaluator's metrics of the network with random weights; empty if it was not evaluated."""
    return dict(result["baselines"].get("random_weights", {}).get("metrics", {}))


def tries(records: dict[str, dict[str, Any]]) -> Table:
    """A row for each try."""
    columns = ("try", "backbone", "epochs", "minutes", "seed", "state", "ACC", "NMI", "AMI", "ARI", "kNN", "linear")
    table = Table(*columns, title="CIFAR-10 test, % (with random weights)", title_justify="left")
    for name, record in records.items():
        recipe = record["recipe"]
        parts = lineage(record, records)
        minutes = sum(part["minutes"] for part in parts)
        table.add_row(
            name,
            recipe["backbone"]["use"].rpartition(":")[2],
            " + ".join(str(part["recipe"]["train"]["epochs"]) for part in parts),
            f"{minutes:.0f}" if minutes <= LONGEST else f"({minutes:.0f})",
            str(record["seed"]),
            record["state"],
            *figures(record, "cluster", "acc", "nmi", "ami", "ari"),
            *figures(record, "knn", "top1"),
            *figures(record, "linear", "top1"),
        )
    published = read_reference(ROOT / "recipes" / "paper" / "references" / "report-a.toml")
    for row in published.rows:
        metrics = [f"{100 * row.metrics[name]:.1f}" if name in row.metrics else "" for name in PUBLISHED]
        settings = published.settings_of(row)
        backbone, epochs = settings["backbone.use"], str(settings["train.epochs"])
        table.add_row(f"report A: {row.label}", backbone, epochs, "", "", "", *metrics)
    table.caption = f"report A is {published.source}; {published.protocol}"
    table.columns[0].no_wrap = True
    return table


def lineage(record: dict[str, Any], records: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The record, after those of the trainings that it continues: of the same seed, with as many steps."""
    before = (record.get("trained_with", {}).get("continued_from") or {}).get("steps")
    parents = [each for each in records.values() if (each["seed"], each["steps"]) == (record["seed"], before)]
    return [*(lineage(parents[0], records) if parents else []), record]


def fractions(records: dict[str, dict[str, Any]]) -> Table:
    """A row for each fraction of the labels, with the untrained network's figure beside it."""
    table = Table("try", "evaluation", "labels", "top-1", "untrained", title="Few labels, %", title_justify="left")
    for name, record in records.items():
        for evaluation in record["evaluations"]:
            for evaluator in (name for name in ("linear", "finetune") if name in evaluation["evaluators"]):
                result = evaluation["evaluators"][evaluator]
                floor = random_weights(result).get("fractions", {})
                for part, found in result["metrics"].get("fractions", {}).items():
                    table.add_row(name, evaluator, f"{100 * float(part):g} %", top1(found), top1(floor.get(part, {})))
    table.columns[0].no_wrap = True
    return table


def top1(found: dict[str, float]) -> str:
    """Mean and deviation in percent."""
    if "top1" not in found:
        return ""
    spread = f" ± {100 * found['top1_std']:.1f}" if "top1_std" in found else ""
    return f"{100 * found['top1']:.1f}{spread}"


def main() -> None:
    """Print both tables."""
    records = {path.stem: json.loads(path.read_text()) for path in sorted(RECORDS.glob("*.json"))}
    if not records:
        print(f"there are no records in {RECORDS}")
        return
    console = Console(width=max(Console().width, NARROWEST))
    console.print(tries(records))
    for name, record in records.items():
        console.print(f"{name}: {record['note']}", markup=False, highlight=False)
    few = fractions(records)
    if few.row_count:
        console.print(few)


if __name__ == "__main__":
    main()
