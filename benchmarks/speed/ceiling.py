"""Compare the speed of complete training with that of the backbone alone on precomputed views, using `sslkit bench`.

    python benchmarks/speed/ceiling.py [--stem small|imagenet] [--crops 2x32|multi] [--rounds 5] [--seconds 10]
                                       [--batch 256] [--images 4096] [--no-record]

Writes ``benchmarks/records/ceiling-STEM-CROPS.json``.
"""

from __future__ import annotations

from benchmarks.common import name_with_device, option_parser, print_table, write_record
from benchmarks.noise import noise_recipe
from sslkit.bench.bench import bench

CROPS = {"2x32": [], "multi": ["views.local_crops=6", "views.local_size=18"]}


def main() -> None:
    """Measure one stem with the chosen crops, print a table and write the record."""
    parser = option_parser(__doc__, rounds=5)
    parser.add_argument("--stem", choices=("small", "imagenet"), default="imagenet")
    parser.add_argument("--crops", choices=CROPS, default="2x32")
    parser.add_argument("--seconds", type=float, default=10.0, help="duration of each stage in a round")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--images", type=int, default=4096)
    options = parser.parse_args()
    settings = [f"backbone.stem={options.stem}", *CROPS[options.crops]]
    recipe = noise_recipe(*settings, images=options.images, batch=options.batch)
    results = bench(recipe, options.rounds, options.seconds)
    speeds, ratios = results["images_per_second"], results["ratios"]
    row = (
        f"{speeds['ceiling']:.0f}",
        f"{speeds['end_to_end']:.0f}",
        f"{results['ratio']:.1%}",
        f"{min(ratios):.1%} to {max(ratios):.1%}",
        results["bottleneck"],
    )
    title = f"resnet18, {options.stem} stem, {options.crops}: images/s"
    print_table(title, ("ceiling", "training", "ratio", "rounds", "bottleneck"), [row])
    if not options.no_record:
        record = {"n": options.rounds, "settings": vars(options), **results}
        write_record(name_with_device(f"ceiling-{options.stem}-{options.crops}"), record)


if __name__ == "__main__":
    main()
