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

Writes ``benchmarks/records/peers-STEM-CROPS.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
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

PEERS = ("lightly", "tuned", "kornia", "precomputed")
OURS = {
    "sslkit": [],
    "compiled": ["train.compile=true"],
    "processes": [f"train.devices={os.cpu_count()}"],
}
"""Recipe settings of the loops that use sslkit, keyed by name."""

PROTOTYPES = 300

CROPS = {"2x32": ((32,), (2,)), "multi": ((32, 18), (2, 6))}
"""Sizes in pixels and numbers of the crops, keyed by the value of ``--crops``."""

SCALES = ((0.2, 1.0), (0.05, 0.2))
"""Range of the crop area as a fraction of the image area, one range per crop size."""

COLOUR = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1}
"""Strengths of the colour jitter. All loops use the defaults of sslkit's view policy ``crops``, without blur."""


class NoiseImages:
    """Data set of random arrays, each converted to a PIL image when it is read, like torchvision's CIFAR."""

    def __init__(self, count: int, transform: Any) -> None:
        import numpy as np

        self.pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Any:
        from PIL import Image

        return self.transform(Image.fromarray(self.pixels[index]))


def build_network(stem: str) -> Any:
    """Return a network with backbone, projection head and prototypes."""
    import torchvision
    from lightly.models.modules.heads import SwaVProjectionHead, SwaVPrototypes
    from torch import nn
    from torch.nn.functional import normalize

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            resnet = torchvision.models.resnet18()
            if stem == "small":
                resnet.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
                resnet.maxpool = nn.Identity()
            resnet.fc = nn.Identity()
            self.backbone = resnet
            self.projection = SwaVProjectionHead(512, 2048, 128)
            self.prototypes = SwaVPrototypes(128, PROTOTYPES)

        def forward(self, images: Any) -> Any:
            return self.prototypes(normalize(self.projection(self.backbone(images))))

    return Network()


def pil_batches(options: argparse.Namespace, *, tuned: bool) -> Iterator[list[Any]]:
    """Yield batches of views that DataLoader workers make with lightly's transform."""
    from lightly.transforms import SwaVTransform
    from torch.utils.data import DataLoader

    sizes, counts = CROPS[options.crops]
    transform = SwaVTransform(
        crop_sizes=sizes,
        crop_counts=counts,
        crop_min_scales=tuple(low for low, _ in SCALES[: len(sizes)]),
        crop_max_scales=tuple(high for _, high in SCALES[: len(sizes)]),
        cj_bright=COLOUR["brightness"],
        cj_contrast=COLOUR["contrast"],
        cj_sat=COLOUR["saturation"],
        cj_hue=COLOUR["hue"],
        gaussian_blur=0.0,
    )
    loader: Any = DataLoader(
        NoiseImages(options.images, transform),  # type: ignore[arg-type]  # torch declares a subclass
        batch_size=options.batch,
        shuffle=True,
        drop_last=True,
        num_workers=os.cpu_count() or 1,
        persistent_workers=tuned,
    )
    while True:
        yield from loader


def kornia_batches(options: argparse.Namespace, device: str) -> Iterator[list[Any]]:
    """Yield batches of views that kornia makes, one crop after the other for the complete batch."""
    import kornia.augmentation as K
    import torch

    pixels = torch.randint(0, 256, (options.images, 3, 32, 32), dtype=torch.uint8).to(device)
    views = []
    for size, count, scale in zip(*CROPS[options.crops], SCALES, strict=False):
        views += [
            torch.nn.Sequential(
                # kornia's default cropping mode is a Python loop over images, which is slow.
                K.RandomResizedCrop((size, size), scale=scale, cropping_mode="resample"),
                K.RandomHorizontalFlip(),
                K.ColorJitter(*COLOUR.values(), p=0.8),
                K.RandomGrayscale(p=0.2),
                K.Normalize((0.5,) * 3, (0.25,) * 3),
            )
        ] * count
    while True:
        for part in torch.randperm(len(pixels)).split(options.batch):
            if len(part) == options.batch:
                images = pixels[part.to(device)].float() / 255
                with torch.no_grad():
                    batch = [view(images) for view in views]
                yield batch


def precomputed_batches(options: argparse.Namespace) -> Iterator[list[Any]]:
    """Yield the same precomputed views in every step."""
    import torch

    sizes, counts = CROPS[options.crops]
    views = [
        torch.randn(options.batch, 3, size, size)
        for size, count in zip(sizes, counts, strict=True)
        for _ in range(count)
    ]
    while True:
        yield views


def train_peer(options: argparse.Namespace) -> list[float]:
    """Train with a loop that does not use sslkit, and return the end time of each step."""
    import torch
    from lightly.loss import SwaVLoss

    from sslkit.device.hardware import choose_hardware

    hardware, tuned = choose_hardware("auto", "auto"), options.child != "lightly"
    device = hardware.device
    model, criterion = build_network(options.stem).to(device), SwaVLoss()
    if tuned:
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    bfloat16 = tuned and hardware.precision == "bfloat16"
    if options.child == "kornia":
        batches = kornia_batches(options, device)
    elif options.child == "precomputed":
        batches = precomputed_batches(options)
    else:
        batches = pil_batches(options, tuned=tuned)
    ends = []
    for step, views in enumerate(batches):
        model.prototypes.normalize()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bfloat16):
            if tuned:
                views = [view.to(device).contiguous(memory_format=torch.channels_last) for view in views]
            logits = [model(view.to(device)).float() for view in views]
            loss = criterion(logits[:2], logits[2:])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()
        ends.append(time.perf_counter())
        if step == options.warm_up + options.steps:
            break
    return ends


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
        ends = train_sslkit(options) if options.child in OURS else train_peer(options)
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
    speeds = measure_interleaved(measures, options.rounds)
    against = {
        ours: {name: ratio(speeds[ours], speeds[name]) for name in PEERS if name in names}
        for ours in OURS
        if ours in names
    }
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
    if not options.no_record:
        record = {
            "n": options.rounds,
            "seed": 0,
            "settings": vars(options),
            "views_per_second": speeds,
            "over": against,
        }
        name = name_with_device(f"peers-{options.stem}-{options.crops}")
        write_record(name, record, ("lightly", "kornia", "torchvision"))


if __name__ == "__main__":
    main()
