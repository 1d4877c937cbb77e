"""One try on CIFAR-10: trained, evaluated, and recorded whatever came out.

    python benchmarks/accuracy/cifar10.py NAME RECIPE [--set KEY=VALUE ...] [--images DIR] [--runs DIR] [--few-labels]
    python benchmarks/accuracy/cifar10.py NAME --run RUN [--few-labels]          # a run that was trained already
    python benchmarks/accuracy/cifar10.py NAME --run RUN --saved                 # and evaluated

Writes ``benchmarks/records/cifar10/NAME.json``: the resolved recipe, minutes, curves, and every figure with its
protocol, beside the same network with random weights.  What it was trained with is the run's own provenance, what it
was evaluated with stands in each evaluation; machine and versions are those that wrote the record.
``--few-labels`` adds 1, 10, 30 and 40 % of the labels, and fine-tuning with 1 and 10 % of them beside training from
scratch.  ``--images`` is a folder ``train/<class>``, ``test/<class>`` of the same images, for machines that cannot
download them.  A run that did not finish is recorded with its curves alone.
``python benchmarks/accuracy/table.py`` prints the records as tables.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.common import sslkit, write_record
from sslkit.runs.evaluation_files import read_evaluations
from sslkit.runs.metrics_file import read_metrics
from sslkit.runs.run import Run

FRACTIONS = "0.01,0.1,0.3,0.4"
TRAINED_WITH = ("versions", "components", "platform", "hardware", "processes", "git_commit", "continued_from")


def train(recipe: str, settings: list[str], images: str | None, runs: str) -> str:
    """The folder of a run of the recipe."""
    if images is not None:
        settings = [*settings, "data.use=image-folder", f"data.root={images}"]
    options = [word for setting in settings for word in ("--set", setting)]
    return str(sslkit("train", recipe, *options, "--runs", runs)["run"])


def evaluate(run: str, *, few_labels: bool) -> list[dict[str, Any]]:
    """What ``sslkit eval`` finds."""
    has_classes = bool(tomllib.loads((Path(run) / "recipe.toml").read_text()).get("head", [{}])[0].get("classifiers"))
    found = [sslkit("eval", run, *(["--cluster"] if has_classes else []), "--linear", "--knn", "--baseline", "random")]
    if few_labels:
        few = ["--fractions", FRACTIONS, "--seeds", "3", "--baseline", "random"]
        found.append(sslkit("eval", run, "--linear", *few))
        scratch = ["--fractions", "0.01,0.1", "--baseline", "random"]
        found.append(sslkit("eval", run, "--finetune", *scratch))
    return found


def curves(run: str) -> tuple[dict[str, list[tuple[float, float]]], float]:
    """By metric, its value at the end of epochs; and the minutes that the steps took."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    speed: list[tuple[int, float]] = []
    for row in read_metrics(Path(run) / "metrics.csv"):
        if row.metric == "epoch_loss" or row.metric.startswith("monitor/"):
            found[row.metric].append((row.epoch, row.value))
        elif row.metric == "time/images_per_second":
            speed.append((row.step, row.value))
    batch = tomllib.loads((Path(run) / "recipe.toml").read_text())["train"]["batch_size"]
    before, seconds = 0, 0.0
    for step, images_per_second in speed:
        seconds += (step - before) * batch / images_per_second
        before = step
    return dict(found), seconds / 60


def main() -> None:
    """Try, and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("recipe", nargs="?")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--images")
    parser.add_argument("--runs", default=str(Path(tempfile.gettempdir()) / "sslkit-cifar10"))
    parser.add_argument("--run")
    parser.add_argument("--few-labels", action="store_true")
    parser.add_argument("--saved", action="store_true", help="take the evaluations that the run holds, make none")
    parser.add_argument("--note", default="", help="what was learned from it")
    asked = parser.parse_args()
    run = asked.run or train(asked.recipe, asked.set, asked.images, asked.runs)
    status = json.loads((Path(run) / "status.json").read_text())
    recipe = tomllib.loads((Path(run) / "recipe.toml").read_text())
    if "root" in recipe["data"]:
        recipe["data"]["root"] = "CIFAR-10, a folder of images for each class"
    by_metric, minutes = curves(run)
    finished = status["state"] == "finished"
    evaluations: list[dict[str, Any]] = []
    if asked.saved:
        evaluations = [result.to_json() for result in read_evaluations(Run(Path(run)))[0]]
    elif finished:
        evaluations = evaluate(run, few_labels=asked.few_labels)
    known = json.loads((Path(run) / "provenance.json").read_text())
    record = {
        "note": asked.note,
        "trained_with": {name: known.get(name) for name in TRAINED_WITH},
        "state": status["state"],
        "steps": status["step"],
        "seed": recipe["run"]["seed"],
        "minutes": round(minutes, 1),
        "evaluations": evaluations,
        "curves": by_metric,
        "recipe": recipe,
    }
    for evaluation in record["evaluations"]:
        del evaluation["run"]
    paths = {"--images": "DIR", "--runs": "DIR", "--run": "RUN"}
    words = [paths.get(before, word) for before, word in zip(["", *sys.argv[1:]], sys.argv[1:], strict=False)]
    if "--note" in words:  # it stands in the record already
        del words[words.index("--note") : words.index("--note") + 2]
    words = [word for word in words if not word.startswith("--note=")]
    command = shlex.join(["python", "benchmarks/accuracy/cifar10.py", *words])
    write_record(f"cifar10/{asked.name}", command, record)


if __name__ == "__main__":
    main()
