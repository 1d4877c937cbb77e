"""Compare CPU processes that keep freed memory with CPU processes that return it to the system, glibc's default.

    python benchmarks/speed/allocator.py [--rounds 3] [--batch 256] [--no-record]

Measures training steps of ResNet-18 with the small and the ImageNet stem, and a forward pass with the small stem in
float32, which is typical for evaluation. Each measurement is a separate process; rounds are interleaved. Prints the
median seconds and page faults of a step, and the peak memory of the process. Writes
``benchmarks/records/allocator.json``.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

from benchmarks.common import measure_interleaved, option_parser, print_table, ratio, run_in_child, write_record
from sslkit.device.allocator import RETAIN_FREED_MEMORY, retain_freed_memory

WORKLOADS = {"train small": 8, "train imagenet": 30, "forward small": 10}
"""Number of measured steps, keyed by workload."""

WARM_UP_STEPS = 3
"""Number of steps before the measurement."""


def measure(workload: str, batch: int) -> dict[str, float]:
    """Run a workload in this process. Return seconds and page faults per step, and the peak memory."""
    samples: list[tuple[float, int]] = []

    def sample() -> None:
        samples.append((time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt))

    steps = WARM_UP_STEPS + WORKLOADS[workload]
    kind, stem = workload.split()
    if kind == "train":
        from benchmarks.noise import noise_recipe, train_steps

        train_steps(noise_recipe(f"backbone.stem={stem}", batch=batch), steps, sample)
    else:
        run_forward(stem, batch, steps, sample)
    pairs = list(zip(samples[WARM_UP_STEPS - 1 :], samples[WARM_UP_STEPS:], strict=False))
    return {
        "seconds": median(after[0] - before[0] for before, after in pairs),
        "page_faults": median(after[1] - before[1] for before, after in pairs),
        "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def run_forward(stem: Any, batch: int, steps: int, after_step: Callable[[], None]) -> None:
    """Encode a batch of random images with ResNet-18, without gradients."""
    import torch

    import sslkit
    from sslkit_backbones.resnet import ResNet18

    retain_freed_memory("cpu")
    context = sslkit.Context(3, 32, (0.5,) * 3, (0.25,) * 3, batch, 1, 1, view_size=32)
    network = ResNet18(ResNet18.Options(stem=stem), context).to(memory_format=torch.channels_last).eval()
    images = torch.randn(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    for _ in range(steps):
        with torch.no_grad():
            network(images)
        after_step()


def main() -> None:
    """Compare both memory settings for all workloads. With ``--child``, measure one workload in this process."""
    parser = option_parser(__doc__, rounds=3)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--child", choices=WORKLOADS, help="measure only this workload, in this process")
    parser.add_argument(
        "--return-memory",
        action="store_true",
        help="with --child: return freed memory to the system, as glibc does by default",
    )
    options = parser.parse_args()
    if options.child:
        os.environ[RETAIN_FREED_MEMORY] = "0" if options.return_memory else "1"
        print(json.dumps(measure(options.child, options.batch)))
        return
    rows, results = [], {}
    for workload in WORKLOADS:
        child: partial[dict[str, float]] = partial(
            run_in_child, __file__, "--child", workload, "--batch", options.batch
        )
        runs = measure_interleaved({"retained": child, "returned": partial(child, "--return-memory")}, options.rounds)
        seconds = {name: [run["seconds"] for run in each] for name, each in runs.items()}
        speedup = ratio(seconds["returned"], seconds["retained"])
        results[workload] = {**runs, "speedup": speedup}
        cells = [f"{speedup['median']:.2f}"]
        for key, unit in (("page_faults", 1), ("peak_bytes", 1e6)):
            cells += [f"{median(run[key] for run in each) / unit:.0f}" for each in runs.values()]
        rows.append((workload, *cells))
    columns = ("workload", "× as fast", "page faults, retained", "returned", "peak MB, retained", "returned")
    print_table(f"resnet18, 32 px, batches of {options.batch}: memory retained against returned", columns, rows)
    if not options.no_record:
        write_record("allocator", {"n": options.rounds, "settings": vars(options), "workloads": results})


if __name__ == "__main__":
    main()
