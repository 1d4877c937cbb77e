"""Train a recipe on CIFAR-10, evaluate the run and write a record, even if the run fails.

    python benchmarks/accuracy/cifar10.py NAME RECIPE [--set KEY=VALUE ...] [--continue-from RUN]
                                             [--images DIR] [--runs DIR] [--few-labels]
    python benchmarks/accuracy/cifar10.py NAME --run RUN [--few-labels]     # evaluate a finished run
    python benchmarks/accuracy/cifar10.py NAME --run RUN --saved            # record the saved evaluations of a run

Writes ``benchmarks/records/cifar10/NAME.json``: the resolved recipe, the training time in minutes, the curves, and each
evaluation with its protocol and the baseline with random weights. The key ``trained_with`` describes the machine and
versions of training; ``machine`` and ``versions`` describe the process that wrote the record. If the run did not
finish, the record has the curves but no evaluations.

``--few-labels`` adds linear probes with 1, 10, 30 and 40 % of the labels, and fine-tuning with 1 and 10 % of the
labels. ``--images DIR`` reads the images from folders ``DIR/train/<class>`` and ``DIR/test/<class>`` instead of
downloading CIFAR-10. ``python benchmarks/accuracy/table.py`` prints the records as tables.
"""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.common import option_parser, run_sslkit, write_record
from sslkit.method_comparison.curves import step_clock
from sslkit.runs.evaluation_files import read_evaluations
from sslkit.runs.metrics_file import read_metrics
from sslkit.runs.run import Run

FRACTIONS = "0.01,0.1,0.3,0.4"
"""Fractions of the labels for the linear probe."""

TRAINED_WITH = ("versions", "components", "platform", "hardware", "processes", "git_commit", "continued_from")
"""Keys of ``provenance.json`` that are copied to the record."""


def train(recipe: str, settings: list[str], images: str | None, runs: str, parent: str | None) -> str:
    """Train the recipe and return the run's folder."""
    if images is not None:
        settings = [*settings, "data.use=image-folder", f"data.root={images}"]
    options = [word for setting in settings for word in ("--set", setting)]
    options += ["--continue-from", parent] if parent is not None else []
    return str(run_sslkit("train", recipe, *options, "--runs", runs)["run"])


def evaluate(run: str, recipe: dict[str, Any], *, few_labels: bool) -> list[dict[str, Any]]:
    """Evaluate a run with ``sslkit eval`` and return the results."""
    baseline = ("--baseline", "random")
    has_classes = bool(recipe.get("head", [{}])[0].get("classifiers"))
    results = [run_sslkit("eval", run, *(["--cluster"] if has_classes else []), "--linear", "--knn", *baseline)]
    if few_labels:
        results.append(run_sslkit("eval", run, "--linear", "--fractions", FRACTIONS, "--seeds", "3", *baseline))
        results.append(run_sslkit("eval", run, "--finetune", "--fractions", "0.01,0.1", *baseline))
    return results


def read_curves(run: Run, batch_size: int) -> tuple[dict[str, list[tuple[float, float]]], float]:
    """Return the values of each metric as (epoch, value) pairs, and the total time of the steps in minutes."""
    curves: dict[str, list[tuple[float, float]]] = defaultdict(list)
    rows = list(read_metrics(run.metrics))
    for row in rows:
        if row.metric == "epoch_loss" or row.metric.startswith("monitor/"):
            curves[row.metric].append((row.epoch, row.value))
    return dict(curves), step_clock(rows, batch_size)[-1][1]


def public_command(arguments: list[str]) -> str:
    """Return the command line of this program with placeholders for local paths, and without ``--note``."""
    placeholders = {"--images": "DIR", "--runs": "DIR", "--run": "RUN"}
    words = [placeholders.get(before, word) for before, word in zip(["", *arguments], arguments, strict=False)]
    if "--note" in words:
        del words[words.index("--note") : words.index("--note") + 2]
    words = [word for word in words if not word.startswith("--note=")]
    return shlex.join(["python", "benchmarks/accuracy/cifar10.py", *words])


def main() -> None:
    """Train the recipe, evaluate the run and write the record."""
    parser = option_parser(__doc__)
    parser.add_argument("name")
    parser.add_argument("recipe", nargs="?")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--continue-from", metavar="RUN")
    parser.add_argument("--images")
    parser.add_argument("--runs", default=str(Path(tempfile.gettempdir()) / "sslkit-cifar10"))
    parser.add_argument("--run")
    parser.add_argument("--few-labels", action="store_true")
    parser.add_argument(
        "--saved", action="store_true", help="record the saved evaluations of the run instead of evaluating it"
    )
    parser.add_argument("--note", default="", help="conclusion from the result, in one sentence")
    options = parser.parse_args()
    if options.run is None and options.recipe is None:
        parser.error("name a RECIPE to train or a --run")
    trained = options.run or train(options.recipe, options.set, options.images, options.runs, options.continue_from)
    run = Run(Path(trained))
    recipe = tomllib.loads(run.recipe.read_text())
    if "root" in recipe["data"]:
        recipe["data"]["root"] = "CIFAR-10, a folder of images for each class"
    status = run.status
    curves, minutes = read_curves(run, recipe["train"]["batch_size"])
    evaluations: list[dict[str, Any]] = []
    if options.saved:
        evaluations = [result.to_json() for result in read_evaluations(run)[0]]
    elif status.state == "finished":
        evaluations = evaluate(str(run.path), recipe, few_labels=options.few_labels)
    for evaluation in evaluations:
        del evaluation["run"]
    provenance = json.loads(run.provenance.read_text())
    record = {
        "note": options.note,
        "trained_with": {name: provenance.get(name) for name in TRAINED_WITH},
        "state": status.state,
        "steps": status.step,
        "seed": recipe["run"]["seed"],
        "minutes": round(minutes, 1),
        "evaluations": evaluations,
        "curves": curves,
        "recipe": recipe,
    }
    if not options.no_record:
        write_record(f"cifar10/{options.name}", record, command=public_command(sys.argv[1:]))


if __name__ == "__main__":
    main()
