"""Trains and evaluates the quick start for several seeds, one after the other, and records what came out.

    python benchmarks/accuracy/quickstart.py [SEED ...]        # seeds 0 to 4 unless told otherwise

Writes ``benchmarks/records/quickstart.json``: for each seed the figures on the held-out digits, next to k-means on
their pixels, and the seconds that ``sslkit train`` took, with everything it imports.
"""

from __future__ import annotations

import sys
import tempfile
import time
from statistics import mean
from typing import Any

from benchmarks.common import ROOT, by_device, sslkit, write_record


def measure(seed: int, runs: str) -> dict[str, Any]:
    """One seed, trained and evaluated."""
    began = time.perf_counter()
    trained = sslkit("train", str(ROOT / "recipes" / "quickstart.toml"), "--set", f"run.seed={seed}", "--runs", runs)
    seconds = time.perf_counter() - began
    found = sslkit("eval", trained["run"], "--cluster")
    cluster = found["evaluators"]["cluster"]
    figures = {name: cluster["metrics"][name] for name in ("acc", "acc_many_to_one", "nmi", "ami", "ari")}
    pixels = cluster["baselines"]["kmeans_pixels"]["metrics"]["acc"]
    return {"seed": seed, **figures, "kmeans_pixels_acc": pixels, "seconds": round(seconds, 1)}


def main() -> None:
    """Measure every seed and write the record."""
    seeds = [int(seed) for seed in sys.argv[1:]] or [0, 1, 2, 3, 4]
    rows = []
    with tempfile.TemporaryDirectory() as runs:
        for seed in seeds:
            rows.append(measure(seed, runs))
            print(rows[-1], flush=True)
    accuracies = [row["acc"] for row in rows]
    found = {
        "protocol": "accuracy one-to-one on the held-out digits; seconds of `sslkit train`, imports included",
        "seeds": rows,
        "mean_acc": mean(accuracies),
        "worst_acc": min(accuracies),
    }
    write_record(
        by_device("quickstart"), "python benchmarks/accuracy/quickstart.py " + " ".join(map(str, seeds)), found
    )


if __name__ == "__main__":
    main()
