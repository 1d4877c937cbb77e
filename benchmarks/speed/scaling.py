"""What a step costs as one thing grows: batch, prototypes, sets of prototypes, classes, crops, images.

    python benchmarks/speed/scaling.py [--rounds 3] [--seconds 2] [--only batch] [--no-record]

SwAV, for classes Self-Classifier, with the small ``convnet``, so that what is not the backbone shows; the seconds are
those of `sslkit bench`.
Writes ``benchmarks/records/scaling.json``.
"""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.common import by_device, command_line, print_table, write_record
from benchmarks.noise import recipe
from sslkit.bench.bench import bench

BASE = {"batch": 256, "prototypes": 300, "sets of prototypes": 1, "classes": 0, "local crops": 0, "images": 4096}
GROWS = {
    "batch": (64, 256, 1024),
    "prototypes": (30, 300, 3000),
    "sets of prototypes": (1, 4, 16),
    "classes": (10, 100, 1000),
    "local crops": (0, 4, 8),
    "images": (4096, 65_536),
}


def step(rounds: int, seconds: float, **changed: int) -> dict[str, Any]:
    """One setting, measured."""
    now = BASE | changed
    if now["classes"]:
        method = [f"head={{use='selfcls-mlp', classifiers=[{now['classes']}]}}", "loss={use='selfcls'}"]
    else:
        method = [f"head.prototypes={[now['prototypes']] * now['sets of prototypes']}"]
    own = recipe(
        "backbone={use='convnet'}",
        *method,
        f"views.local_crops={now['local crops']}",
        images=now["images"],
        batch=now["batch"],
    )
    return bench(own, rounds, seconds)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--only", choices=GROWS)
    parser.add_argument("--batch", type=int, default=BASE["batch"], help="where not the batch grows")
    parser.add_argument("--no-record", action="store_true")
    asked = parser.parse_args()
    BASE["batch"] = asked.batch
    found = {
        what: {str(value): step(asked.rounds, asked.seconds, **{what: value}) for value in values}
        for what, values in GROWS.items()
        if asked.only in (None, what)
    }
    rows = [
        (
            what,
            value,
            f"{1000 * each['seconds_per_step']['end_to_end']:.1f}",
            *(f"{1000 * own:.1f}" for own in each["cost"].values()),
        )
        for what, by_value in found.items()
        for value, each in by_value.items()
    ]
    columns = ("what", "is", "a step", "backbone", "heads and losses", "views", "data", "logging")
    print_table("ms, medians", columns, rows)
    if not asked.no_record:
        write_record(by_device("scaling"), command_line(), {"n": asked.rounds, "base": BASE, "found": found})


if __name__ == "__main__":
    main()
