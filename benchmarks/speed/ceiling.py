"""Training, end to end, against the bare backbone on views that lie ready, as `sslkit bench` measures it.

    python benchmarks/speed/ceiling.py [--stem small|imagenet] [--crops 2x32|multi] [--rounds 5] [--seconds 10] [--batch 256]
                                 [--images 4096] [--no-record]

Writes ``benchmarks/records/ceiling-STEM-CROPS.json``.
"""

from __future__ import annotations

import argparse

from benchmarks.common import by_device, command_line, print_table, write_record
from benchmarks.noise import recipe
from sslkit.bench.bench import bench

CROPS = {"2x32": [], "multi": ["views.local_crops=6", "views.local_size=18"]}


def main() -> None:
    """Measure one stem, with or without local crops."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stem", choices=("small", "imagenet"), default="imagenet")
    parser.add_argument("--crops", choices=CROPS, default="2x32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--no-record", action="store_true")
    asked = parser.parse_args()
    own = recipe(f"backbone.stem={asked.stem}", *CROPS[asked.crops], images=asked.images, batch=asked.batch)
    found = bench(own, asked.rounds, asked.seconds)
    speeds, each = found["images_per_second"], found["ratios"]
    row = (
        f"{speeds['ceiling']:.0f}",
        f"{speeds['end_to_end']:.0f}",
        f"{found['ratio']:.1%}",
        f"{min(each):.1%} to {max(each):.1%}",
        found["bottleneck"],
    )
    title = f"resnet18, {asked.stem} stem, {asked.crops}: images/s"
    print_table(title, ("ceiling", "training", "ratio", "rounds", "limited by"), [row])
    if not asked.no_record:
        record = {"n": asked.rounds, "settings": vars(asked), **found}
        write_record(by_device(f"ceiling-{asked.stem}-{asked.crops}"), command_line(), record)


if __name__ == "__main__":
    main()
