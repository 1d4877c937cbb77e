"""Transfer of the quick start's backbone to segmentation, beside the same network with random weights.

    python benchmarks/accuracy/segment.py [SEED ...]           # seeds 0 to 2 unless told otherwise

Trains the quick start for each seed, evaluates it with ``sslkit eval --segment --baseline random``, and writes
``benchmarks/records/segment.json``.
"""

from __future__ import annotations

import sys
import tempfile
from statistics import mean
from typing import Any

from benchmarks.common import ROOT, by_device, sslkit, write_record


def main() -> None:
    """Measure every seed and write the record."""
    seeds = [int(seed) for seed in sys.argv[1:]] or [0, 1, 2]
    rows = []
    protocol: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as runs:
        for seed in seeds:
            recipe = str(ROOT / "recipes" / "quickstart.toml")
            run = sslkit("train", recipe, "--set", f"run.seed={seed}", "--runs", runs)["run"]
            found = sslkit("eval", run, "--segment", "--baseline", "random")
            segment = found["evaluators"]["segment"]
            protocol = segment["protocol"]
            floor = segment["baselines"]["random_weights"]["metrics"]
            rows.append({"seed": seed, **segment["metrics"], "random_weights": floor})
            print(rows[-1], flush=True)
    found = {
        "protocol": protocol,
        "seeds": rows,
        "mean_miou": mean(row["miou"] for row in rows),
        "mean_miou_random_weights": mean(row["random_weights"]["miou"] for row in rows),
    }
    write_record(by_device("segment"), "python benchmarks/accuracy/segment.py " + " ".join(map(str, seeds)), found)


if __name__ == "__main__":
    main()
