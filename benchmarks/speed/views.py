"""Compare how fast sslkit, kornia and lightly make views, without training.

    python benchmarks/speed/views.py [--rounds 5] [--batch 256] [--batches 40] [--no-record]

All libraries make the same views on the same CPU cores: two crops of 32 pixels with flips, colour jitter, grayscale and
normalisation. Times include reading the images from memory. lightly's PIL transform runs in a DataLoader with one
worker per CPU core; sslkit and kornia use torch's threads. Each measurement is a separate process, so that workers of
one library do not slow down the next library. Writes ``benchmarks/records/views.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Any

import torch

from benchmarks.common import (
    measure_interleaved,
    name_with_device,
    option_parser,
    print_table,
    ratio,
    run_in_child,
    write_record,
)
from benchmarks.speed.peers import kornia_batches, pil_batches
from sslkit.contracts.context import Context
from sslkit.contracts.views import move_parameters
from sslkit.device.hardware import choose_device
from sslkit.views.crops import Crops

LIBRARIES = ("sslkit", "kornia", "lightly (PIL)")


def sslkit_batches(options: argparse.Namespace, device: torch.device) -> Iterator[Any]:
    """Gather the images of each batch and yield their views, in the same way as training."""
    policy = Crops(Crops.Options(), Context(3, 32, (0.5,) * 3, (0.25,) * 3, options.batch, 1, 1))
    pixels = torch.randint(0, 256, (options.images, 3, 32, 32), dtype=torch.uint8, device=device)
    generator = torch.Generator().manual_seed(0)
    while True:
        for part in torch.randperm(len(pixels)).split(options.batch):
            parameters = move_parameters(policy.draw(options.batch, generator), device)
            yield policy.apply(pixels[part.to(device)], parameters)


def views_per_second(options: argparse.Namespace) -> float:
    """Return the speed of one library in views per second, measured after the batches that workers prefetched."""
    device = torch.device(choose_device("auto"))
    if options.child == "sslkit":
        batches = sslkit_batches(options, device)
    elif options.child == "kornia":
        batches = kornia_batches(options, device.type)
    else:
        batches = pil_batches(options, tuned=True)
    for _ in range(2 * (os.cpu_count() or 1) + 1):  # skip the prefetched batches: two per worker
        next(batches)
    started = time.perf_counter()
    for _ in range(options.batches):
        next(batches)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return float(2 * options.batch * options.batches / (time.perf_counter() - started))


def main() -> None:
    """Compare all libraries. With ``--child``, measure one library in this process."""
    parser = option_parser(__doc__, rounds=5)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--child", choices=LIBRARIES, help="measure only this library, in this process")
    options = parser.parse_args()
    options.images, options.crops = 16 * options.batch, "2x32"
    if options.child:
        print(json.dumps(views_per_second(options)))
        return
    sizes = ("--batch", options.batch, "--batches", options.batches)
    measures = {name: partial(run_in_child, __file__, "--child", name, *sizes) for name in LIBRARIES}
    speeds = measure_interleaved(measures, options.rounds)
    against = {name: ratio(speeds["sslkit"], speeds[name]) for name in LIBRARIES if name != "sslkit"}
    rows = [
        (name, f"{median(each):.0f}", f"{against[name]['median']:.1f}" if name in against else "")
        for name, each in speeds.items()
    ]
    print_table("views alone", ("library", "views/s", "sslkit is × as fast"), rows)
    if not options.no_record:
        record = {
            "n": options.rounds,
            "seed": 0,
            "settings": vars(options),
            "views_per_second": speeds,
            "sslkit_over": against,
        }
        write_record(name_with_device("views"), record, ("lightly", "kornia", "torchvision"))


if __name__ == "__main__":
    main()
