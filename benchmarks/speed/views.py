"""Views alone, the same operations on the same cores: sslkit's, kornia's, and lightly's PIL transform in a DataLoader.

    python benchmarks/speed/views.py [--rounds 5] [--batch 256] [--batches 40] [--no-record]

Two crops of 32 px, mirrored, colour jitter, grayscale, normalised, of images that each side fetches itself.  The PIL
transform has a worker for each processor, the others the threads that torch takes.  Each turn is a process of its own,
so that no side's workers are still busy when another's turn begins.  Writes ``benchmarks/records/views.json``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import torch

from benchmarks.common import by_device, command_line, in_process, print_table, ratio, take_turns, write_record
from benchmarks.speed.peers import kornia_batches, pil_batches
from sslkit.contracts.context import Context
from sslkit.contracts.views import move_parameters
from sslkit.device.hardware import choose
from sslkit.views.crops import Crops

SIDES = ("sslkit", "kornia", "lightly (PIL)")


def our_batches(asked: argparse.Namespace, device: torch.device) -> Iterator[Any]:
    """Views of gathered images, as a training makes them."""
    policy = Crops(Crops.Options(), Context(3, 32, (0.5,) * 3, (0.25,) * 3, asked.batch, 1, 1))
    pixels = torch.randint(0, 256, (asked.images, 3, 32, 32), dtype=torch.uint8, device=device)
    generator = torch.Generator().manual_seed(0)
    while True:
        for part in torch.randperm(len(pixels)).split(asked.batch):
            drawn = move_parameters(policy.draw(asked.batch, generator), device)
            yield policy.apply(pixels[part.to(device)], drawn)


def views_per_second(asked: argparse.Namespace) -> float:
    """Of one side, once its workers' queues have run empty."""
    device = torch.device(choose("auto", "auto").device)
    if asked.side == "sslkit":
        batches = our_batches(asked, device)
    elif asked.side == "kornia":
        batches = kornia_batches(asked, device.type)
    else:
        batches = pil_batches(asked, careful=True)
    # Workers have two batches ready, each.
    for _ in range(2 * (torch.multiprocessing.cpu_count() or 1) + 1):
        next(batches)
    began = time.perf_counter()
    for _ in range(asked.batches):
        next(batches)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return float(2 * asked.batch * asked.batches / (time.perf_counter() - began))


def main() -> None:
    """All sides in turns, or, with ``--side``, one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--no-record", action="store_true")
    asked = parser.parse_args()
    asked.images, asked.crops = 16 * asked.batch, "2x32"
    if asked.side:
        print(json.dumps(views_per_second(asked)))
        return

    def side(name: str) -> float:
        return float(in_process(__file__, "--side", name, "--batch", asked.batch, "--batches", asked.batches))

    found = take_turns({name: lambda name=name: side(name) for name in SIDES}, asked.rounds)
    against = {name: ratio(found["sslkit"], found[name]) for name in found if name != "sslkit"}
    rows = [
        (name, f"{median(each):.0f}", f"{against[name]['median']:.1f}" if name in against else "")
        for name, each in found.items()
    ]
    print_table("views alone", ("side", "views/s", "sslkit is × as fast"), rows)
    if not asked.no_record:
        record = {
            "n": asked.rounds,
            "seed": 0,
            "settings": vars(asked),
            "views_per_second": found,
            "sslkit_over": against,
        }
        write_record(by_device("views"), command_line(), record, ("lightly", "kornia", "torchvision"))


if __name__ == "__main__":
    main()
