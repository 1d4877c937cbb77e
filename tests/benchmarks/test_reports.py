"""The tables of both reports: published rows, rows filled from records, and commands of missing rows.

After an intended change, write the new output to ``golden/reports.txt`` with ``UPDATE_GOLDEN=1``.
"""

from __future__ import annotations

import json
import os
import tomllib
from io import StringIO
from pathlib import Path

from rich.console import Console

from benchmarks.accuracy.reports import OURS, report_tables

GOLDEN = Path(__file__).parent / "golden" / "reports.txt"

CLASSES = {"acc": 0.5, "nmi": 0.4, "ami": 0.3, "ari": 0.2}
RECORDS = {
    "cifar10/gpu-selfcls-alexnet": {
        "state": "finished",
        "evaluations": [
            {"evaluators": {"cluster": {"metrics": CLASSES, "protocol": {}}}},
            {"evaluators": {"linear": {"metrics": {"top1": 0.625}, "protocol": {}}}},
            {"evaluators": {"linear": {"metrics": {"top1": 0.9}, "protocol": {"data_options": "other images"}}}},
        ],
    },
    "cifar10/selfcls-resnet18-3": {"state": "interrupted", "evaluations": []},
    "fractions/swav-cpu": {
        "results": [
            {"network": "augmentation 1", "evaluator": evaluator, "fraction": fraction, "draw": draw, **accuracies}
            for evaluator, accuracies in (("finetune", {"top1": 0.25, "top5": 0.5}), ("linear", {"top1": 0.9}))
            for fraction in (0.01, 0.1, 0.3, 0.4)
            for draw in (0, 1)
        ]
        + [{"network": "random weights", "evaluator": "finetune", "fraction": 0.1, "draw": 0, "top1": 0.1, "top5": 0.2}]
    },
}


def test_tables_are_filled_from_records(tmp_path: Path) -> None:
    for name, record in RECORDS.items():
        path = tmp_path / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(record))
    page = StringIO()
    console = Console(file=page, width=260)
    for table in report_tables(tmp_path):
        console.print(table)
    printed = "".join(f"{line.rstrip()}\n" for line in page.getvalue().splitlines())
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(printed, encoding="utf-8")
    assert printed == GOLDEN.read_text(encoding="utf-8")


def test_every_recipe_in_the_table_exists() -> None:
    listed = tomllib.loads(OURS.read_text())["report-a"]
    paths = [run["recipe"] for row in listed for run in row["ours"]]
    assert [path for path in paths if not (OURS.parents[2] / path).is_file()] == []
