"""A training on a processor that keeps what its steps free, as sslkit does, and one that gives it back, as glibc does.

    python benchmarks/speed/allocator.py [--rounds 3] [--batch 256] [--no-record]

ResNet-18 with both stems, and a forward pass of the small one in float32, as evaluation takes it.  Each side is a
process of its own, in turns.  Told are seconds and fetched pages of a step, medians, and the process's peak memory.
Writes ``benchmarks/records/allocator.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

from benchmarks.common import command_line, in_process, print_table, ratio, take_turns, write_record
from sslkit.device import allocator as heap

WORK = {"train small": 8, "train imagenet": 30, "forward small": 10}
"""Steps by what is measured."""

WARM = 3
"""Steps before any is."""


def measured(work: str, batch: int) -> dict[str, float]:
    """Steps in this process."""
    moments: list[tuple[float, int]] = []

    def note() -> None:
        moments.append((time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt))

    what, stem = work.split()
    if what == "train":
        from benchmarks.noise import recipe, train_some

        train_some(recipe(f"backbone.stem={stem}", batch=batch), WARM + WORK[work], note)
    else:
        forward(stem, batch, WARM + WORK[work], note)
    pairs = list(zip(moments[WARM - 1 :], moments[WARM:], strict=False))
    return {
        "seconds": median(after[0] - before[0] for before, after in pairs),
        "pages": median(after[1] - before[1] for before, after in pairs),
        "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def forward(stem: Any, batch: int, steps: int, note: Callable[[], None]) -> None:
    """Features of noise, batch by batch."""
    import torch

    import sslkit
    from sslkit_backbones.resnet import ResNet18

    heap.retain_freed_memory("cpu")
    context = sslkit.Context(3, 32, (0.5,) * 3, (0.25,) * 3, batch, 1, 1, view_size=32)
    network = ResNet18(ResNet18.Options(stem=stem), context).to(memory_format=torch.channels_last).eval()
    images = torch.randn(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    for _ in range(steps):
        with torch.no_grad():
            network(images)
        note()


def side(arguments: Sequence[object], found: list[dict[str, float]]) -> float:
    """Seconds of a step of one side; what else it tells is added to ``found``."""
    found.append(in_process(__file__, *arguments))
    return found[-1]["seconds"]


def main() -> None:
    """All sides in turns, or, with ``--work``, one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--work", choices=WORK, help="that alone, in this process")
    parser.add_argument("--returned", action="store_true", help="with --work: as glibc does")
    parser.add_argument("--no-record", action="store_true")
    asked = parser.parse_args()
    if asked.work:
        os.environ[heap.RETAIN_FREED_MEMORY] = "0" if asked.returned else "1"
        print(json.dumps(measured(asked.work, asked.batch)))
        return
    rows, found = [], {}
    for work in WORK:
        each: dict[str, list[dict[str, float]]] = {"kept": [], "returned": []}
        own = ("--work", work, "--batch", asked.batch)
        sides = {"kept": own, "returned": (*own, "--returned")}
        seconds = take_turns(
            {name: partial(side, arguments, each[name]) for name, arguments in sides.items()}, asked.rounds
        )
        faster = ratio(seconds["returned"], seconds["kept"])
        found[work] = {**each, "faster": faster}
        cells: list[Any] = [f"{faster['median']:.2f}"]
        for key, unit in (("pages", 1), ("peak_bytes", 1e6)):
            cells += [f"{median(one[key] for one in each[name]) / unit:.0f}" for name in each]
        rows.append((work, *cells))
    columns = ("work", "× as fast", "pages a step, kept", "returned", "peak MB, kept", "returned")
    print_table(f"resnet18, 32 px, batches of {asked.batch}", columns, rows)
    if not asked.no_record:
        write_record("allocator", command_line(), {"n": asked.rounds, "settings": vars(asked), "work": found})


if __name__ == "__main__":
    main()
