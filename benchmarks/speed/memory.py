"""Measure the peak memory of training: model alone, images in memory, and images streamed from 1, 4 and 16 x the files.

    python benchmarks/speed/memory.py [--images 50000] [--size 32] [--files 10000] [--batch 256] [--steps 30]
                                      [--no-record]

Each variant is a separate process and is measured once. Streamed variants decode a folder of files into the cache and
stream the images from the cache. sslkit does the same with images that do not fit into memory.

The measured memory is the anonymous memory of the process and its workers (Pss_Anon in Linux's smaps_rollup, 20 samples
per second). It excludes cached pages of mapped files, because the system can drop these pages when memory is short. The
peak with these pages (VmHWM) is recorded as well. Writes ``benchmarks/records/memory.json``.
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

from benchmarks.common import name_with_device, option_parser, print_table, run_in_child, write_record

FACTORS = (1, 4, 16)
"""Numbers of files in the streamed variants, as multiples of ``--files``."""

DISTINCT_FILES = 100
"""Number of different files; all other files of the folder are hard links to these files."""


def process_tree(pid: int) -> list[int]:
    """Return the ids of a process and of all its descendants."""
    pids = [pid]
    for parent in pids:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            pids += [int(child) for child in task.read_text().split()]
    return pids


def anonymous_bytes() -> int:
    """Return the anonymous memory of this process and its workers in bytes."""
    total = 0
    for pid in process_tree(os.getpid()):
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:  # the process has ended
            continue
        total += 1024 * int(re.findall(r"Pss_Anon:\s+(\d+)", text)[0])
    return total


class PeakMemory(threading.Thread):
    """Thread that records the maximum of ``anonymous_bytes``."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes = 0

    def run(self) -> None:
        while True:
            self.bytes = max(self.bytes, anonymous_bytes())
            time.sleep(0.05)


def write_images(folder: Path, files: int, size: int) -> None:
    """Write PNG files of random pixels; after the first hundred, write hard links, which need no disk space."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(files):
        file = folder / f"{number:07}.png"
        if number < DISTINCT_FILES:
            Image.fromarray(random.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(file)
        else:
            file.hardlink_to(folder / f"{number % DISTINCT_FILES:07}.png")


def run_steps(options: argparse.Namespace) -> None:
    """Train a number of steps. With ``bare``, train only the backbone, on precomputed views."""
    from benchmarks.noise import noise_recipe, train_steps
    from sslkit.bench.stages import StageRunner
    from sslkit.data import placement
    from sslkit.training.events import Reporter
    from sslkit.training.preparation import prepare

    settings = ["backbone.stem=imagenet"]
    if options.child == "streamed":
        placement.MEMORY_FRACTION = 0.0
        settings.append(f"data={{use='image-folder', root='{options.folder}'}}")
    recipe = noise_recipe(*settings, images=options.images, size=options.size, batch=options.batch)
    if options.child != "bare":
        train_steps(recipe, options.steps)
        return
    hardware, assembly, _ = prepare(recipe, Reporter())
    stages = StageRunner(assembly, hardware)
    del assembly  # frees the network, because the stages have a copy
    stages.start("backbone")
    for _ in range(options.steps):
        stages.step()


def main() -> None:
    """Measure all variants. With ``--child``, measure one variant in this process."""
    parser = option_parser(__doc__)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument(
        "--child", choices=("bare", "resident", "streamed"), help="measure only this variant, in this process"
    )
    parser.add_argument("--folder", default="", help="with --child streamed: the folder of images")
    options = parser.parse_args()
    if options.child:
        peak = PeakMemory()
        peak.start()
        run_steps(options)
        total = 1024 * int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0])
        print(json.dumps({"anonymous": max(peak.bytes, anonymous_bytes()), "with_file_pages": total}))
        return
    shared = ("--size", options.size, "--batch", options.batch, "--steps", options.steps)
    peaks: dict[str, Any] = {
        # With few images, the memory of the bare variant is the memory of the model.
        "bare": run_in_child(__file__, "--child", "bare", "--images", options.batch, *shared),
        "resident": run_in_child(__file__, "--child", "resident", "--images", options.images, *shared),
    }
    for factor in FACTORS:
        with tempfile.TemporaryDirectory() as temporary:
            images = Path(temporary) / "images"
            write_images(images, factor * options.files, options.size)
            os.environ["SSLKIT_CACHE"] = str(Path(temporary) / "cache")
            peaks[f"streamed, {factor}x"] = run_in_child(__file__, "--child", "streamed", "--folder", images, *shared)
    rows = [
        (name, f"{peak['anonymous'] / 1e6:.0f}", f"{peak['with_file_pages'] / 1e6:.0f}") for name, peak in peaks.items()
    ]
    print_table("peak memory, MB", ("variant", "anonymous", "with file pages"), rows)
    differences = {
        "resident_beyond_bare_bytes": peaks["resident"]["anonymous"] - peaks["bare"]["anonymous"],
        "streamed_16x_over_1x": peaks["streamed, 16x"]["anonymous"] / peaks["streamed, 1x"]["anonymous"],
    }
    print(differences)
    if not options.no_record:
        record = {"n": 1, "seed": 0, "settings": vars(options), "peak": peaks, **differences}
        write_record(name_with_device("memory"), record)


if __name__ == "__main__":
    main()
