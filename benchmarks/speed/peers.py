"""Compare SwAV training by other libraries and by sslkit, with equal backbone, batch, crops, head, loss and optimizer.

    python benchmarks/speed/peers.py [--stem small|imagenet] [--crops 2x32|multi] [--rounds 5] [--steps 8] [--batch 256]
                                     [--trainings NAME ...] [--no-record]

Each of these training loops runs in a separate process; rounds are interleaved:

- ``lightly``: the SwAV loop of lightly's documentation, with float32, a PIL transform and a DataLoader worker per CPU
  core;
- ``tuned``: the loop of ``lightly`` with bfloat16 if the hardware computes it natively, channels-last memory format and
  persistent workers;
- ``kornia``: the loop of ``tuned``, with views that kornia makes for complete batches;
- ``precomputed``: the loop of ``tuned`` on precomputed views, an upper limit for faster loading;
- ``sslkit``: complete training by ``sslkit train``;
- ``compiled``: training by sslkit with ``train.compile = true``;
- ``processes``: only without a GPU, training by sslkit with one process per CPU core (``train.devices``). Each process
  has one thread and a part of the batch. The loss uses the global batch, but BatchNorm normalises each part separately.

These libraries are not compared: *solo-learn* 1.0.2 needs torch 1.9.1, and no Python version supports both this torch
and sslkit; *lightly-train* 0.18 has no SwAV; SwAV in *stable-pretraining* 0.1.8 always has a queue.

Writes ``benchmarks/records/peers-STEM-CROPS.json`` after each round.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common import (
    describe_machine,
    measure_interleaved,
    name_with_device,
    option_parser,
    print_table,
    ratio,
    run_in_child,
    write_record,
)
from benchmarks.speed.peer_loops import CROPS, PEERS, PROTOTYPES, train_peer

OURS = {
    "sslkit": [],
    "compiled": ["train.compile=true"],
    "processes": [f"train.devices={os.cpu_count()}"],
}
"""Recipe settings of the loops that use sslkit, keyed by name."""


def train_sslkit(options: argparse.Namespace) -> list[float]:
    """Train with sslkit, and return the end time of each step."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # the command sets it as well, before torch is imported
    import torch

    from benchmarks.noise import noise_recipe
    from sslkit.training.events import Event, Reporter, StepEnded
    from sslkit.training.train import train

    ends = []

    class StepListener(Reporter):
        def on_event(self, event: Event) -> None:
            if isinstance(event, StepEnded):
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                ends.append(time.perf_counter())

    local_crops = ["views.local_crops=6", "views.local_size=18"] if options.crops == "multi" else []
    recipe = noise_recipe(
        f"backbone.stem={options.stem}",
        f"head.prototypes=[{PROTOTYPES}]",
        "optimizer={use='sgd', lr=0.05, weight_decay=1e-4}",
        "train.epochs=1",
        *local_crops,
        *OURS[options.child],
        images=options.batch * (options.warm_up + options.steps + 1),
        batch=options.batch,
    )
    with tempfile.TemporaryDirectory() as folder:
        train(recipe, Path(folder), StepListener())
    return ends


def main() -> None:
    """Compare all training loops. With ``--child``, measure one loop in this process."""
    parser = option_parser(__doc__, rounds=5)
    parser.add_argument("--stem", choices=("small", "imagenet"), default="imagenet")
    parser.add_argument("--crops", choices=CROPS, default="2x32")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument(
        "--warm-up",
        type=int,
        default=5,
        help="steps before the measurement, which use up the batches that workers have prefetched",
    )
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--trainings", nargs="*", choices=(*PEERS, *OURS), default=[*PEERS, *OURS])
    parser.add_argument("--child", choices=(*PEERS, *OURS), help="measure only this training loop, in this process")
    options = parser.parse_args()
    if options.child:
        ends = train_sslkit(options) if options.child in OURS else train_peer(options.child, options)
        views = sum(CROPS[options.crops][1]) * options.batch * options.steps
        print(json.dumps(views / (ends[-1] - ends[-1 - options.steps])))
        return
    settings = [
        word
        for name in ("stem", "crops", "steps", "warm-up", "batch", "images")
        for word in (f"--{name}", getattr(options, name.replace("-", "_")))
    ]
    names = options.trainings
    if describe_machine()["device"] != "cpu" or os.cpu_count() == 1:
        names = [name for name in names if name != "processes"]
    measures = {name: partial(run_in_child, __file__, "--child", name, *settings) for name in names}
    record = name_with_device(f"peers-{options.stem}-{options.crops}")

    def save(speeds: dict[str, list[float]]) -> None:
        results = {
            "n": len(speeds[names[0]]),
            "seed": 0,
            "settings": vars(options),
            "views_per_second": speeds,
            "over": compare(speeds),
        }
        if not options.no_record:
            write_record(record, results, ("lightly", "kornia", "torchvision"))

    speeds = measure_interleaved(measures, options.rounds, after_round=save)
    against = compare(speeds)
    rows = [
        (
            name,
            f"{median(each):.0f}",
            *(f"{ratios[name]['median']:.2f}" if name in ratios else "" for ratios in against.values()),
        )
        for name, each in speeds.items()
    ]
    columns = ("training", "views/s", *(f"{ours} is × as fast" for ours in against))
    print_table(f"resnet18, {options.stem} stem, {options.crops}", columns, rows)


def compare(speeds: dict[str, list[float]]) -> dict[str, dict[str, Any]]:
    """Return the ratio of each of sslkit's trainings to each other library's; see ``benchmarks.common.ratio``."""
    return {
        ours: {name: ratio(speeds[ours], speeds[name]) for name in PEERS if name in speeds}
        for ours in OURS
        if ours in speeds
    }


if __name__ == "__main__":
    main()
