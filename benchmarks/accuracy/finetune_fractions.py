"""Pre-train on CIFAR-100, then fine-tune on fractions of the labels; compare with training from random weights.

    python benchmarks/accuracy/finetune_fractions.py PLAN.toml [--images DIR] [--runs DIR] [--minutes M] [--no-record]

PLAN.toml is a file such as ``benchmarks/accuracy/fractions/swav-cpu.toml`` with these keys: ``pretrainings``, which
maps the name of each pre-training to its ``recipe`` (a path relative to PLAN.toml) and its ``settings``; ``fractions``
of the labels, below 1; ``draws``, the seeds of the random subsets; ``finetune``, options of the evaluator ``finetune``.

Each trained network and the network with random weights are evaluated for each fraction and draw: fine-tuning of all
layers, where random weights mean training from scratch, and a linear probe on frozen features. The recipe's validation
split is part of the labelled images.

The record ``benchmarks/records/fractions/PLAN.json`` is written after each result. The next call resumes: it continues
an interrupted pre-training from its checkpoint in ``--runs``, and computes only missing results. ``--minutes M`` starts
no new result after M minutes. ``--images DIR`` reads images from folders ``DIR/train/<class>`` and
``DIR/test/<class>`` instead of downloading CIFAR-100.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sslkit
from benchmarks.accuracy.reports import fraction_cell
from benchmarks.common import RECORDS, command_line, option_parser, print_table, write_record
from sslkit.device.hardware import choose_device
from sslkit.errors import RunError
from sslkit.evaluation.build_evaluators import build_evaluators
from sslkit.evaluation.run_subject import RunSubject
from sslkit.runs.metrics_file import read_metrics

RANDOM = "random weights"
"""Name of the network that is not pre-trained, in the results."""

KEY = ("network", "evaluator", "fraction", "draw")
"""Entries of a result that identify it."""


def main() -> None:
    """Compute the missing results, and write the record after each of them."""
    parser = option_parser(__doc__)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--runs", type=Path, default=Path(tempfile.gettempdir()) / "sslkit-fractions")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    options = parser.parse_args()
    started = time.monotonic()
    plan = tomllib.loads(options.plan.read_text())
    name = f"fractions/{options.plan.stem}"
    record = read_record(name, plan)
    done = {tuple(result[key] for key in KEY) for result in record["results"]}
    missing = [key for key in all_keys(plan) if key not in done]
    subjects: dict[str, RunSubject] = {}
    for key in missing:
        if time.monotonic() - started > 60 * options.minutes:
            break
        network, evaluator, fraction, draw = key
        if network not in subjects:
            run = pretrain(options, plan, network)
            record["pretrainings"][network] = describe_run(run)
            subjects[network] = load_subject(run, network)
        result, protocol = measure(subjects[network], plan, evaluator, fraction, draw)
        record["results"].append(dict(zip(KEY, key, strict=True)) | result)
        record["protocols"][evaluator] = protocol
        print(record["results"][-1], flush=True)
        if not options.no_record:
            command = command_line().replace(str(options.images or "DIR"), "DIR").replace(str(options.runs), "DIR")
            write_record(name, record, command=command)
    left = len(missing) - (len(record["results"]) - len(done))
    print_table(
        f"{options.plan.stem}: top-1 / top-5 on test images, %, mean over draws",
        ("network", "evaluator", *(f"{100 * fraction:g} %" for fraction in plan["fractions"])),
        table_rows(record["results"], plan),
    )
    if left:
        print(f"{left} of {len(all_keys(plan))} results are missing: run the same command again")


def read_record(name: str, plan: dict[str, Any]) -> dict[str, Any]:
    """Return the results of earlier calls, or an empty record."""
    path = RECORDS / f"{name}.json"
    if not path.exists():
        return {"plan": plan, "pretrainings": {}, "protocols": {}, "results": []}
    record = json.loads(path.read_text())
    if record["plan"] != plan:
        sys.exit(f"{path} has the results of a different plan: remove the file, or rename the plan")
    return {key: record[key] for key in ("plan", "pretrainings", "protocols", "results")}


def all_keys(plan: dict[str, Any]) -> list[tuple[str, str, float, int]]:
    """Return the keys of all results: the first draw of all networks, then the second draw, and so on."""
    return [
        (network, evaluator, fraction, draw)
        for draw in plan["draws"]
        for network in (*plan["pretrainings"], RANDOM)
        for evaluator in ("linear", "finetune")
        for fraction in sorted(plan["fractions"])
    ]


def pretrain(options: Any, plan: dict[str, Any], network: str) -> sslkit.Run:
    """Return the finished run of a network; random weights use the first run. Resume the run if it is interrupted."""
    network = next(iter(plan["pretrainings"])) if network == RANDOM else network
    name = f"{options.plan.stem}-{network.replace(' ', '-')}"
    try:
        run = sslkit.find_run(name, options.runs)
    except RunError:
        training = plan["pretrainings"][network]
        settings = [*training.get("settings", []), f"run.name={name}"]
        if options.images is not None:
            settings += ["data.use=image-folder", f"data.root={options.images.absolute()}"]
        run = sslkit.train(options.plan.parent / training["recipe"], settings=settings, runs=options.runs)
    if run.status.state != "finished":
        run = sslkit.resume(run.path, runs=options.runs)
    if run.status.state != "finished":
        sys.exit(f"pre-training was interrupted: {run.path}")
    return run


def describe_run(run: sslkit.Run) -> dict[str, Any]:
    """Return the resolved recipe without local paths, the number of steps, and the final kNN accuracy."""
    recipe = tomllib.loads(run.recipe.read_text())
    recipe["data"].pop("root", None)
    knn = [row.value for row in read_metrics(run.metrics) if row.metric == "monitor/knn"]
    return {"steps": run.status.step, "knn_on_validation_split": knn[-1] if knn else None, "recipe": recipe}


def load_subject(run: sslkit.Run, network: str) -> RunSubject:
    """Return the network and its images; all draws use the validation split of the run's own seed."""
    subject = RunSubject(run, choose_device("auto"), weights="random" if network == RANDOM else "trained")
    subject.split("train")
    subject.split("validation")
    return subject


def measure(
    subject: RunSubject, plan: dict[str, Any], evaluator: str, fraction: float, draw: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the accuracies for one random subset of the labels with their duration in seconds, and the protocol."""
    subject.seed = draw
    started = time.monotonic()
    options = {"fractions": [fraction]} | (plan["finetune"] if evaluator == "finetune" else {})
    (built,) = build_evaluators({f"sslkit:{evaluator}": options}).values()
    evaluation = built.evaluate(subject)
    (metrics,) = evaluation.metrics["fractions"].values()
    seconds = round(time.monotonic() - started, 1)
    of_one_result = ("labels_used", "epochs", "trainings")
    protocol = {
        key: value
        for key, value in evaluation.protocol.items()
        if key not in of_one_result and not key.endswith(("_chosen", "_chosen_on"))
    }
    return metrics | {"labels": sum(evaluation.protocol["labels_used"].values()), "seconds": seconds}, protocol


def table_rows(results: list[dict[str, Any]], plan: dict[str, Any]) -> Iterator[list[str]]:
    """Yield the row of each network and evaluator: mean accuracies for each fraction, or an empty cell."""
    for network in (*plan["pretrainings"], RANDOM):
        for evaluator in ("finetune", "linear"):
            cells = [fraction_cell(results, network, evaluator, fraction) for fraction in plan["fractions"]]
            yield [network, evaluator, *cells]


if __name__ == "__main__":
    main()
