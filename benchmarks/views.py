"""Views alone, the same operations on the same cores: sslkit's, kornia's, and lightly's PIL transform in a DataLoader.

    python benchmarks/views.py [--rounds 5] [--batch 256] [--batches 8] [--no-record]

Two crops of 32 px, mirrored, colour jitter, grayscale, normalised.  The PIL transform has a worker for each processor,
the others the threads that torch takes.  Writes ``benchmarks/records/views.json``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from common import command_line, print_table, ratio, take_turns, write_record
from peers import kornia_batches, pil_batches

from sslkit.contracts.context import Context
from sslkit.contracts.views import move_parameters
from sslkit.hardware import choose
from sslkit.views.crops import Crops


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--no-record", action="store_true")
    asked = parser.parse_args()
    asked.images, asked.crops = 4 * asked.batch, "2x32"
    device = torch.device(choose("auto", "auto").device)
    policy = Crops(Crops.Options(), Context(3, 32, (0.5,) * 3, (0.25,) * 3, asked.batch, 1, 1))
    pixels = torch.randint(0, 256, (asked.batch, 3, 32, 32), dtype=torch.uint8, device=device)
    generator = torch.Generator().manual_seed(0)

    def ours() -> None:
        policy.apply(pixels, move_parameters(policy.draw(asked.batch, generator), device))

    pil, kornia = pil_batches(asked, careful=True), kornia_batches(asked, device.type)

    def timed(make: Callable[[], object], warm: int) -> float:
        for _ in range(warm):
            make()
        began = time.perf_counter()
        for _ in range(asked.batches):
            make()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return 2 * asked.batch * asked.batches / (time.perf_counter() - began)

    # Workers have batches ready when a turn begins: two for each of them.
    queued = 2 * (torch.multiprocessing.cpu_count() or 1) + 1
    sides = {
        "sslkit": lambda: timed(ours, 1),
        "kornia": lambda: timed(lambda: next(kornia), 1),
        "lightly (PIL)": lambda: timed(lambda: next(pil), queued),
    }
    found = take_turns(sides, asked.rounds)
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
        write_record("views", command_line(), record, ("lightly", "kornia", "torchvision"))


if __name__ == "__main__":
    main()
