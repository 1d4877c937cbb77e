"""Measure the time of a step for growing batches, prototypes, sets of prototypes, classes, crops and images.

    python benchmarks/speed/scaling.py [--rounds 3] [--seconds 2] [--axis batch] [--batch 256] [--no-record]

Trains the small backbone ``convnet``, so that the other parts of a step are visible. The axis ``classes`` uses
Self-Classifier, all other axes use SwAV. Each measurement is one round of `sslkit bench`, and all settings are measured
in interleaved rounds. Writes ``benchmarks/records/scaling.json``.
"""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Any

from benchmarks.common import measure_interleaved, name_with_device, option_parser, print_table, write_record
from benchmarks.noise import noise_recipe
from sslkit.bench.bench import bench
from sslkit.bench.costs import costs

BASE = {"batch": 256, "prototypes": 300, "sets of prototypes": 1, "classes": 0, "local crops": 0, "images": 4096}
"""Default value of each axis, used while a different axis varies; 0 classes means SwAV."""

AXES = {
    "batch": (64, 256, 1024),
    "prototypes": (30, 300, 3000),
    "sets of prototypes": (1, 4, 16),
    "classes": (10, 100, 1000),
    "local crops": (0, 4, 8),
    "images": (4096, 65_536),
}
"""Values that are measured, keyed by axis."""

Setting = tuple[tuple[str, int], ...]
"""One value per axis."""


def measure(setting: Setting, seconds: float) -> dict[str, float]:
    """Measure one setting for one round; return the seconds per step of each stage and of complete training."""
    values = dict(setting)
    if values["classes"]:
        method = [f"head={{use='selfcls-mlp', classifiers=[{values['classes']}]}}", "loss={use='selfcls'}"]
    else:
        method = [f"head.prototypes={[values['prototypes']] * values['sets of prototypes']}"]
    recipe = noise_recipe(
        "backbone={use='convnet'}",
        *method,
        f"views.local_crops={values['local crops']}",
        images=values["images"],
        batch=values["batch"],
    )
    times: dict[str, float] = bench(recipe, 1, seconds)["seconds_per_step"]
    return times


def main() -> None:
    """Measure all settings in interleaved rounds, print a table and write the record."""
    parser = option_parser(__doc__, rounds=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="duration of each stage in a round")
    parser.add_argument("--axis", choices=AXES, help="measure only this axis")
    parser.add_argument("--batch", type=int, default=BASE["batch"], help="images per batch while other axes vary")
    options = parser.parse_args()
    base = BASE | {"batch": options.batch}
    settings: dict[tuple[str, int], Setting] = {
        (axis, value): tuple((base | {axis: value}).items())
        for axis, values in AXES.items()
        if options.axis in (None, axis)
        for value in values
    }
    # Equal settings are measured once.
    names = {setting: f"{axis} {value}" for (axis, value), setting in settings.items()}
    measures = {name: partial(measure, setting, options.seconds) for setting, name in names.items()}
    measured = measure_interleaved(measures, options.rounds)
    results: dict[str, dict[str, Any]] = {}
    for (axis, value), setting in settings.items():
        rounds = measured[names[setting]]
        seconds = {stage: [times[stage] for times in rounds] for stage in rounds[0]}
        results.setdefault(axis, {})[str(value)] = {"seconds_per_step": seconds, "cost": costs(seconds)}
    rows = [
        (
            axis,
            value,
            f"{1000 * median(result['seconds_per_step']['end_to_end']):.1f}",
            *(f"{1000 * cost:.1f}" for cost in result["cost"].values()),
        )
        for axis, by_value in results.items()
        for value, result in by_value.items()
    ]
    columns = ("axis", "value", "a step", "backbone", "heads and losses", "views", "data", "training loop")
    print_table(f"ms, medians of {options.rounds} rounds", columns, rows)
    if not options.no_record:
        record = {"n": options.rounds, "settings": vars(options), "base": base, "results": results}
        write_record(name_with_device("scaling"), record)


if __name__ == "__main__":
    main()
