"""Peak memory of a training: resident beside its bare model, and from a folder of files, 1, 4 and 16 times as many.

    python benchmarks/speed/memory.py [--images 50000] [--size 32] [--files 10000] [--batch 256] [--steps 30] [--no-record]

Each side is a process of its own.  The folder's files are decoded into the cache and streamed from there, as those are
that do not fit into memory.  What counts is memory that belongs to the process and its workers alone (Pss_Anon of
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

from benchmarks.common import by_device, command_line, in_process, print_table, write_record

TIMES = (1, 4, 16)

DIFFERENT = 100
"""Files of the folder that are not links to others."""


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


def fill(folder: Path, files: int, size: int) -> None:
    """Pictures of noise; after the first hundred, links to these, which take no room."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(files):
        file = folder / f"{number:07}.png"
        if number < DIFFERENT:
            Image.fromarray(random.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(file)
        else:
            file.hardlink_to(folder / f"{number % DIFFERENT:07}.png")


def work(asked: argparse.Namespace) -> None:
    """Some steps of a training, as ``--side`` says; ``bare`` is its network on views that lie ready."""
    from benchmarks.noise import recipe, train_some
    from sslkit.bench.stages import StageRunner
    from sslkit.data import placement
    from sslkit.training.events import Reporter
    from sslkit.training.preparation import prepare

    settings = ["backbone.stem=imagenet"]
    if asked.side == "streamed":
        placement.MEMORY_FRACTION = 0.0
        settings.append(f"data={{use='image-folder', root='{asked.folder}'}}")
    own = recipe(*settings, images=asked.images, size=asked.size, batch=asked.batch)
    if asked.side != "bare":
        train_some(own, asked.steps)
        return
    hardware, assembly, _ = prepare(own, Reporter())
    stages = StageRunner(assembly, hardware)
    del assembly  # with its network, of which the stages have a copy
    for _ in range(asked.steps):
        stages.step("backbone")


def main() -> None:
    """All sides, or with ``--side`` one in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--side", choices=("bare", "resident", "streamed"))
    parser.add_argument("--folder", default="")
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
        "bare": in_process(__file__, "--side", "bare", "--images", asked.batch, *shared),
        "resident": in_process(__file__, "--side", "resident", "--images", asked.images, *shared),
    }
    for times in TIMES:
        with tempfile.TemporaryDirectory() as aside:
            pictures = Path(aside) / "pictures"
            fill(pictures, times * asked.files, asked.size)
            os.environ["SSLKIT_CACHE"] = str(Path(aside) / "cache")
            own = ("--side", "streamed", "--folder", pictures)
            found[f"streamed, {times}x"] = in_process(__file__, *own, *shared)
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
        write_record(
            by_device("memory"), command_line(), {"n": 1, "seed": 0, "settings": vars(asked), "peak": found, **compared}
        )


if __name__ == "__main__":
    main()
