"""The same SwAV training by others and by sslkit: same backbone, batch, crops, head, loss, optimizer and steps.

    python benchmarks/speed/peers.py [--stem small|imagenet] [--crops 2x32|multi] [--rounds 5] [--steps 8] [--batch 256]
                               [--sides SIDE ...]

Sides, each in a process of its own, in turns:

- ``lightly``: the loop that lightly's documentation shows for SwAV, float32, PIL transform and DataLoader, as many
  workers as processors;
- ``careful``: the same with what a careful user adds: bfloat16 where the hardware computes it fast, channels-last,
  workers that stay;
- ``kornia``: the careful loop, with views made by kornia for whole batches;
- ``bare``: the careful loop on views that lie ready, the most that better loading alone can give;
- ``sslkit``: ``sslkit train``, with everything;
- ``compiled``: the same with ``train.compile = true``;
- ``spread``, without a GPU: the same with as many ``train.devices`` as processors, each with a thread and a part of the
  batch; the loss is that of the whole batch, BatchNorm sees the parts.

Not here: *solo-learn* 1.0.2, whose package pins torch 1.9.1, which no Python has that sslkit runs on;
*lightly-train* 0.18, which has no SwAV (DINO, DenseCL, DetCon, SimCLR and distillation are other jobs); and
*stable-pretraining* 0.1.8, whose SwAV always has a queue, so that it is not the same job.

Writes ``benchmarks/records/peers-STEM-CROPS.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common import by_device, command_line, in_process, machine, print_table, ratio, take_turns, write_record

PEERS = ("lightly", "careful", "kornia", "bare")
OURS = {
    "sslkit": [],
    "compiled": ["train.compile=true"],
    "spread": [f"train.devices={os.cpu_count()}"],
}
"""Settings by side."""
PROTOTYPES = 300
CROPS = {"2x32": ((32,), (2,)), "multi": ((32, 18), (2, 6))}
SCALES = ((0.2, 1.0), (0.05, 0.2))
COLOUR = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1}
"""Operations are those of sslkit's ``crops`` with its defaults: no blur."""


class Pictures:
    """Noise as torchvision's CIFAR holds it: arrays that become PIL images one by one."""

    def __init__(self, count: int, transform: Any) -> None:
        import numpy as np

        self.pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, place: int) -> Any:
        from PIL import Image

        return self.transform(Image.fromarray(self.pixels[place]))


def network(stem: str) -> Any:
    """Backbone, projection head and prototypes."""
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


def pil_batches(asked: argparse.Namespace, *, careful: bool) -> Iterator[list[Any]]:
    """lightly's transform in workers."""
    from lightly.transforms import SwaVTransform
    from torch.utils.data import DataLoader

    sizes, counts = CROPS[asked.crops]
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
        Pictures(asked.images, transform),  # type: ignore[arg-type]  # torch asks for a subclass
        batch_size=asked.batch,
        shuffle=True,
        drop_last=True,
        num_workers=os.cpu_count() or 1,
        persistent_workers=careful,
    )
    while True:
        yield from loader


def kornia_batches(asked: argparse.Namespace, device: str) -> Iterator[list[Any]]:
    """Whole batches through kornia, one crop after the other."""
    import kornia.augmentation as K
    import torch

    pixels = torch.randint(0, 256, (asked.images, 3, 32, 32), dtype=torch.uint8).to(device)
    views = []
    for size, count, scale in zip(*CROPS[asked.crops], SCALES, strict=False):
        views += [
            torch.nn.Sequential(
                # Its default crops image by image, in a Python loop.
                K.RandomResizedCrop((size, size), scale=scale, cropping_mode="resample"),
                K.RandomHorizontalFlip(),
                K.ColorJitter(*COLOUR.values(), p=0.8),
                K.RandomGrayscale(p=0.2),
                K.Normalize((0.5,) * 3, (0.25,) * 3),
            )
        ] * count
    while True:
        for part in torch.randperm(len(pixels)).split(asked.batch):
            if len(part) == asked.batch:
                images = pixels[part.to(device)].float() / 255
                with torch.no_grad():
                    made = [view(images) for view in views]
                yield made


def ready_batches(asked: argparse.Namespace) -> Iterator[list[Any]]:
    """Always the same views."""
    import torch

    sizes, counts = CROPS[asked.crops]
    views = [
        torch.randn(asked.batch, 3, size, size) for size, count in zip(sizes, counts, strict=True) for _ in range(count)
    ]
    while True:
        yield views


def loop(asked: argparse.Namespace) -> list[float]:
    """When each step of a peer's loop ended."""
    import torch
    from lightly.loss import SwaVLoss

    from sslkit.device.hardware import choose_hardware

    hardware, careful = choose_hardware("auto", "auto"), asked.side != "lightly"
    device = hardware.device
    model, loss_of = network(asked.stem).to(device), SwaVLoss()
    if careful:
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    half = careful and hardware.precision == "bfloat16"
    if asked.side == "kornia":
        batches = kornia_batches(asked, device)
    else:
        batches = ready_batches(asked) if asked.side == "bare" else pil_batches(asked, careful=careful)
    ends = []
    for step, views in enumerate(batches):
        model.prototypes.normalize()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=half):
            if careful:
                views = [view.to(device).contiguous(memory_format=torch.channels_last) for view in views]
            made = [model(view.to(device)) for view in views]
            loss = loss_of([own.float() for own in made[:2]], [own.float() for own in made[2:]])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()
        ends.append(time.perf_counter())
        if step == asked.warm + asked.steps:
            return ends
    return ends


def ours(asked: argparse.Namespace) -> list[float]:
    """When each step of ``sslkit train`` ended."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the command does, before torch is imported
    import torch

    from benchmarks.noise import recipe
    from sslkit.training.events import Event, Reporter, StepEnded
    from sslkit.training.train import train

    ends = []

    class StepListener(Reporter):
        def on_event(self, event: Event) -> None:
            if isinstance(event, StepEnded):
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                ends.append(time.perf_counter())

    local = ["views.local_crops=6", "views.local_size=18"] if asked.crops == "multi" else []
    own = recipe(
        f"backbone.stem={asked.stem}",
        f"head.prototypes=[{PROTOTYPES}]",
        "optimizer={use='sgd', lr=0.05, weight_decay=1e-4}",
        "train.epochs=1",
        *local,
        *OURS[asked.side],
        images=asked.batch * (asked.warm + asked.steps + 1),
        batch=asked.batch,
    )
    with tempfile.TemporaryDirectory() as folder:
        train(own, Path(folder), StepListener())
    return ends


def main() -> None:
    """All sides in turns, or, with ``--side``, one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stem", choices=("small", "imagenet"), default="imagenet")
    parser.add_argument("--crops", choices=CROPS, default="2x32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--warm", type=int, default=5, help="steps before, in which workers' queues run empty")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--sides", nargs="*", choices=(*PEERS, *OURS), default=[*PEERS, *OURS])
    parser.add_argument("--side", choices=(*PEERS, *OURS), help="that one alone, in this process")
    parser.add_argument("--no-record", action="store_true")
    asked = parser.parse_args()
    if asked.side:
        ends = ours(asked) if asked.side in OURS else loop(asked)
        views = sum(CROPS[asked.crops][1]) * asked.batch * asked.steps
        print(json.dumps(views / (ends[-1] - ends[-1 - asked.steps])))
        return
    own = [
        word
        for name in ("stem", "crops", "steps", "warm", "batch", "images")
        for word in (f"--{name}", getattr(asked, name))
    ]

    def side(name: str) -> float:
        return float(in_process(__file__, "--side", name, *own))

    sides = asked.sides
    if machine()["device"] != "cpu" or os.cpu_count() == 1:
        sides = [name for name in sides if name != "spread"]
    found = take_turns({name: lambda name=name: side(name) for name in sides}, asked.rounds)
    against = {
        own: {name: ratio(found[own], found[name]) for name in PEERS if name in sides} for own in OURS if own in sides
    }
    rows = [
        (name, f"{median(each):.0f}", *(f"{by[name]['median']:.2f}" if name in by else "" for by in against.values()))
        for name, each in found.items()
    ]
    columns = ("side", "views/s", *(f"{own} is × as fast" for own in against))
    print_table(f"resnet18, {asked.stem} stem, {asked.crops}", columns, rows)
    if not asked.no_record:
        record = {
            "n": asked.rounds,
            "seed": 0,
            "settings": vars(asked),
            "views_per_second": found,
            "over": against,
        }
        write_record(
            by_device(f"peers-{asked.stem}-{asked.crops}"), command_line(), record, ("lightly", "kornia", "torchvision")
        )


if __name__ == "__main__":
    sys.exit(main())
