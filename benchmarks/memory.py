"""Peak memory of a training: resident beside its bare model, and streamed from disk at 1, 4 and 16 times the data.

    python benchmarks/memory.py [--images 50000] [--size 32] [--batch 256] [--steps 30] [--no-record]

Each side is a process of its own.  What counts is memory that belongs to the process and its workers alone (Pss_Anon of
Linux's smaps_rollup, sampled 20 times a second): pages of a mapped file are the system's cache, which it drops when
anybody needs memory; the ordinary peak (VmHWM, with those pages) is recorded beside it.  Writes
``benchmarks/records/memory.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from common import command_line, in_process, print_table, write_record

TIMES = (1, 4, 16)


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def anonymous() -> int:
    """Bytes of this process and its workers that are no file's."""
    total = 0
    for pid in family(os.getpid()):
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:  # it has just ended
            continue
        total += 1024 * int(re.findall(r"Pss_Anon:\s+(\d+)", text)[0])
    return total


class Peak(threading.Thread):
    """The largest ``anonymous`` so far."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes = 0

    def run(self) -> None:
        while True:
            self.bytes = max(self.bytes, anonymous())
            time.sleep(0.05)


def work(asked: argparse.Namespace) -> None:
    """Some steps of a training, as ``--side`` says; ``bare`` is its network on views that lie ready."""
    from noise import recipe, train_some

    from sslkit.data import residence
    from sslkit.training import bench
    from sslkit.training.prepare import prepare
    from sslkit.training.reporter import Reporter

    if asked.side == "streamed":
        residence.SHARE = 0.0
    settings = [f"data.file={asked.file}"] if asked.file else []
    own = recipe("backbone.stem=imagenet", *settings, images=asked.images, size=asked.size, batch=asked.batch)
    if asked.side == "bare":
        hardware, assembly, _ = prepare(own, Reporter())
        sides = bench.Sides(assembly, hardware)
        for _ in range(asked.steps):
            sides.take("backbone")
        return
    train_some(own, asked.steps)


def main() -> None:
    """All sides, or with ``--side`` one in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--side", choices=("bare", "resident", "streamed"))
    parser.add_argument("--file", default="")
    parser.add_argument("--no-record", action="store_true")
    asked = parser.parse_args()
    if asked.side:
        peak = Peak()
        peak.start()
        work(asked)
        whole = 1024 * int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0])
        print(json.dumps({"anonymous": max(peak.bytes, anonymous()), "with_file_pages": whole}))
        return
    shared = ("--size", asked.size, "--batch", asked.batch, "--steps", asked.steps)
    found: dict[str, Any] = {
        # Few images: what the bare side holds of the data is not the model's.
        "bare": in_process("memory.py", "--side", "bare", "--images", asked.batch, *shared),
        "resident": in_process("memory.py", "--side", "resident", "--images", asked.images, *shared),
    }
    for times in TIMES:
        with tempfile.TemporaryDirectory() as folder:
            count, file = times * asked.images, Path(folder) / "noise.npy"
            own = ("--images", count, "--file", file)
            found[f"streamed, {times}x"] = in_process("memory.py", "--side", "streamed", *own, *shared)
    first = found["streamed, 1x"]["anonymous"]
    rows = [
        (name, f"{each['anonymous'] / 1e6:.0f}", f"{each['with_file_pages'] / 1e6:.0f}") for name, each in found.items()
    ]
    print_table("peak memory, MB", ("side", "its own", "with file pages"), rows)
    compared = {
        "resident_beyond_bare_bytes": found["resident"]["anonymous"] - found["bare"]["anonymous"],
        "streamed_16x_over_1x": found["streamed, 16x"]["anonymous"] / first,
    }
    print(compared)
    if not asked.no_record:
        write_record("memory", command_line(), {"n": 1, "seed": 0, "settings": vars(asked), "peak": found, **compared})


if __name__ == "__main__":
    main()
