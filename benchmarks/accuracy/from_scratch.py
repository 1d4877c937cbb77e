"""Discover the classes of CIFAR-10 in two stages, without other images or weights, and write a record.

    python benchmarks/accuracy/from_scratch.py --data DIR [--runs DIR] [--seed N] [--features RUN] [--groups RUN]

DIR has the images in folders ``train/<class>`` and ``test/<class>``. The stages are the recipes ``features-alexnet``
and ``groups-alexnet`` of ``recipes/cpu``. No stage reads labels. Prints and records the metrics on the test images, and
those of k-means on the same features. ``--features`` and ``--groups`` use a finished run of a stage instead of training
it. Writes ``benchmarks/records/cifar10-from-scratch.json``.
"""

from __future__ import annotations

import os
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from benchmarks.accuracy.cifar10 import read_curves, train
from benchmarks.common import ROOT, name_with_device, option_parser, run_sslkit, write_record
from sslkit.runs.run import Run

STAGES = ROOT / "recipes" / "cpu"


def train_minutes(run: str) -> float:
    """Return the time of a run's steps in minutes."""
    recipe = tomllib.loads(Run(Path(run)).recipe.read_text())
    return round(read_curves(Run(Path(run)), recipe["train"]["batch_size"])[1], 1)


def main() -> None:
    """Train the stages that are not given, evaluate them, and write the record."""
    parser = option_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", default=str(Path(tempfile.gettempdir()) / "sslkit-from-scratch"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--features")
    parser.add_argument("--groups")
    options = parser.parse_args()

    def train_stage(stage: str, setting: str) -> str:
        settings = [f"run.seed={options.seed}", setting]
        return train(str(STAGES / f"{stage}.toml"), settings, str(options.data.absolute()), options.runs, parent=None)

    features = options.features or train_stage("features-alexnet", f"train.devices={min(2, os.cpu_count() or 1)}")
    groups = options.groups or train_stage("groups-alexnet", f"backbone.weights=run:{Path(features).absolute()}")

    stages: dict[str, dict[str, Any]] = {"features": {"minutes": train_minutes(features)}}
    stages["features"] |= {
        name: result["metrics"]
        for name, result in run_sslkit("eval", features, "--knn", "--linear")["evaluators"].items()
    }
    cluster = run_sslkit("eval", groups, "--cluster")["evaluators"]["cluster"]
    baselines = {f"{baseline}_acc": values["metrics"]["acc"] for baseline, values in cluster["baselines"].items()}
    stages["groups"] = {"minutes": train_minutes(groups)} | cluster["metrics"] | baselines
    print(stages)
    if not options.no_record:
        record = {
            "protocol": "one-to-one accuracy on the 10 000 test images; no stage reads labels; the k-means baselines "
            "use the features of the same network; minutes are the time of the training steps",
            "seed": options.seed,
            "n": 1,
            "stages": stages,
            "recipes": {
                stage: tomllib.loads((STAGES / f"{stage}.toml").read_text())
                for stage in ("features-alexnet", "groups-alexnet")
            },
        }
        command = f"python benchmarks/accuracy/from_scratch.py --data DIR --seed {options.seed}"
        given = [f" --{stage} RUN" for stage in ("features", "groups") if getattr(options, stage)]
        command += "".join(given)
        write_record(name_with_device("cifar10-from-scratch"), record, command=command)


if __name__ == "__main__":
    main()
