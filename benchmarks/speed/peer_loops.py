"""SwAV training loops that do not use sslkit, for `peers.py`, which describes them."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from typing import Any

PEERS = ("lightly", "tuned", "kornia", "precomputed")
"""Names of the training loops."""

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


def train_peer(name: str, options: argparse.Namespace) -> list[float]:
    """Train with the loop ``name``, and return the end time of each step."""
    import torch
    from lightly.loss import SwaVLoss

    from sslkit.device.hardware import choose_hardware

    hardware, tuned = choose_hardware("auto", "auto"), name != "lightly"
    device = hardware.device
    model, criterion = build_network(options.stem).to(device), SwaVLoss()
    if tuned:
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    bfloat16 = tuned and hardware.precision == "bfloat16"
    if name == "kornia":
        batches = kornia_batches(options, device)
    elif name == "precomputed":
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
