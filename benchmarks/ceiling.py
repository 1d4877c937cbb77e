"""Training, end to end, against the bare backbone on views that lie ready, as `sslkit bench` measures it.

    python benchmarks/ceiling.py [--rounds 5] [--seconds 10] [--batch 256] [--images 4096] [--no-record]

Writes ``benchmarks/records/ceiling.json``.
"""

from __future__ import annotations

import argparse

from common import command_line, print_table, write_record
from noise import recipe

from sslkit.training.bench import bench

CROPS = {"2x32": [], "2x32 + 6x18": ["views.local_crops=6", "views.local_size=18"]}


def main() -> None:
    """Measure both stems, with and without local crops."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--no-record", action="store_true")
    asked = parser.parse_args()
    found = {}
    for stem in ("small", "imagenet"):
        for crops, settings in CROPS.items():
            own = recipe(f"backbone.stem={stem}", *settings, images=asked.images, batch=asked.batch)
            found[f"resnet18, {stem} stem, {crops}"] = bench(own, asked.rounds, asked.seconds)
    rows = [
        (
            name,
            f"{each['images_per_second']['ceiling']:.0f}",
            f"{each['images_per_second']['end_to_end']:.0f}",
            f"{each['ratio']:.1%}",
            f"{min(each['ratios']):.1%} to {max(each['ratios']):.1%}",
            each["limit"],
        )
        for name, each in found.items()
    ]
    print_table("images/s", ("what", "ceiling", "training", "ratio", "rounds", "limited by"), rows)
    if not asked.no_record:
        write_record("ceiling", command_line(), {"n": asked.rounds, "found": found})


if __name__ == "__main__":
    main()
