"""Train and evaluate the quick start for multiple seeds.

    python benchmarks/accuracy/quickstart.py [SEED ...] [--precision float32|bfloat16] [--no-record]

For each seed, prints the metrics on the held-out digits, the accuracy of k-means on the pixels of these digits, and the
duration of ``sslkit train`` in seconds, including imports. By default, trains seeds 0 to 4 in float32, which all CPUs
support. Writes ``benchmarks/records/quickstart.json``, or ``quickstart-bfloat16.json``.
"""

from __future__ import annotations

import tempfile
import time
from statistics import mean
from typing import Any

from benchmarks.common import ROOT, name_with_device, option_parser, run_sslkit, write_record


def measure(seed: int, precision: str, runs: str) -> dict[str, Any]:
    """Train and evaluate the quick start with one seed, and return its row of the record."""
    recipe = str(ROOT / "recipes" / "quickstart.toml")
    started = time.perf_counter()
    settings = ("--set", f"run.seed={seed}", "--set", f"train.precision={precision}")
    trained = run_sslkit("train", recipe, *settings, "--runs", runs)
    seconds = time.perf_counter() - started
    cluster = run_sslkit("eval", trained["run"], "--cluster")["evaluators"]["cluster"]
    metrics = {name: cluster["metrics"][name] for name in ("acc", "acc_many_to_one", "nmi", "ami", "ari")}
    kmeans_pixels = cluster["baselines"]["kmeans_pixels"]["metrics"]["acc"]
    return {"seed": seed, **metrics, "kmeans_pixels_acc": kmeans_pixels, "seconds": round(seconds, 1)}


def main() -> None:
    """Train and evaluate with every seed, and write the record."""
    parser = option_parser(__doc__)
    parser.add_argument("seeds", nargs="*", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as runs:
        for seed in options.seeds:
            rows.append(measure(seed, options.precision, runs))
            print(rows[-1], flush=True)
    accuracies = [row["acc"] for row in rows]
    if not options.no_record:
        record = {
            "protocol": "one-to-one accuracy on the held-out digits; seconds of `sslkit train`, imports included",
            "precision": options.precision,
            "n": len(rows),
            "seeds": rows,
            "mean_acc": mean(accuracies),
            "worst_acc": min(accuracies),
        }
        name = "quickstart" if options.precision == "float32" else f"quickstart-{options.precision}"
        write_record(name_with_device(name), record)


if __name__ == "__main__":
    main()
