"""Evaluate segmentation with the quick start's backbone; the baseline is a backbone with random weights.

    python benchmarks/accuracy/segment.py [SEED ...] [--no-record]          # default: seeds 0 to 2

Trains the quick start for each seed and evaluates it with ``sslkit eval --segment --baseline random``. Writes
``benchmarks/records/segment.json``.
"""

from __future__ import annotations

import tempfile
from statistics import mean
from typing import Any

from benchmarks.common import ROOT, name_with_device, option_parser, run_sslkit, write_record


def main() -> None:
    """Train and evaluate with every seed, and write the record."""
    parser = option_parser(__doc__)
    parser.add_argument("seeds", nargs="*", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    rows = []
    protocol: dict[str, Any] = {}
    recipe = str(ROOT / "recipes" / "quickstart.toml")
    with tempfile.TemporaryDirectory() as runs:
        for seed in options.seeds:
            run = run_sslkit("train", recipe, "--set", f"run.seed={seed}", "--runs", runs)["run"]
            result = run_sslkit("eval", run, "--segment", "--baseline", "random")["evaluators"]["segment"]
            protocol = result["protocol"]
            baseline = result["baselines"]["random_weights"]["metrics"]
            rows.append({"seed": seed, **result["metrics"], "random_weights": baseline})
            print(rows[-1], flush=True)
    if not options.no_record:
        record = {
            "protocol": protocol,
            "n": len(rows),
            "seeds": rows,
            "mean_miou": mean(row["miou"] for row in rows),
            "mean_miou_random_weights": mean(row["random_weights"]["miou"] for row in rows),
        }
        write_record(name_with_device("segment"), record)


if __name__ == "__main__":
    main()
