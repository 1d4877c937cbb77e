"""Supervised training of a whole network, as evaluation by fine-tuning needs it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.context import Context
from sslkit.contracts.dataset import ImageStore
from sslkit.data.seeds import generator
from sslkit.views.crops import Crops
from sslkit.views.prepare import prepare

NO_DECAY_BELOW = 2
"""Parameters of fewer dimensions (biases, normalisation) have no weight decay."""


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        epochs: passes over the images.
        batch_size: images in a step; all of them, where there are fewer.
        lr_backbone: peak learning rate of the backbone.
        lr_head: peak learning rate of the classifier.
        weight_decay: of weights; biases and normalisation layers have none.
        crop_scale: smallest and largest part of an image's area in a crop.
        flip_p: probability of mirroring left and right.
    """

    epochs: int
    batch_size: int
    lr_backbone: float
    lr_head: float
    weight_decay: float
    crop_scale: tuple[float, float]
    flip_p: float


def train_network(
    backbone: Backbone,
    images: ImageStore,
    labels: Tensor,
    classes: int,
    context: Context,
    settings: Settings,
    seed: int,
) -> nn.Module:
    """Train a backbone and a new linear classifier on it, by SGD with momentum 0.9 and a cosine schedule.

    Args:
        backbone: what is trained, in place, on the device it is on.
        images: the images.
        labels: ``[N]`` int64 on the CPU.
        classes: number of classes.
        context: of the run: size and normalisation of its views.
        settings: how to train.
        seed: of order, crops and classifier.

    Returns:
        Backbone and classifier, in eval mode: images ``[B, C, S, S]`` to logits ``[B, classes]``.
    """
    device = next(backbone.parameters()).device
    options = Crops.Options(
        size=context.view_size, global_crops=1, global_scale=settings.crop_scale, flip_p=settings.flip_p,
        jitter_p=0.0, grayscale_p=0.0,
    )  # fmt: skip
    views = Crops(options, context)
    classifier = nn.Linear(backbone.feature_dim, classes)
    nn.init.zeros_(classifier.weight)
    nn.init.zeros_(classifier.bias)
    network = nn.Sequential(backbone.requires_grad_(True), classifier.to(device)).train()
    optimizer = torch.optim.SGD(
        _groups(backbone, settings.lr_backbone, settings.weight_decay)
        + _groups(classifier, settings.lr_head, settings.weight_decay),
        momentum=0.9,
        nesterov=True,
    )
    size = min(settings.batch_size, len(images))
    steps_per_epoch = len(images) // size
    total = settings.epochs * steps_per_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 + math.cos(math.pi * step / total)) / 2)
    for epoch in range(settings.epochs):
        order = torch.randperm(len(images), generator=generator(seed, "evaluation", epoch))
        for place in range(steps_per_epoch):
            batch = order[place * size : (place + 1) * size]
            drawn = views.draw(size, generator(seed, "evaluation", epoch, place))
            moved = tuple({name: value.to(device) for name, value in group.items()} for group in drawn)
            (crops,) = views.apply(images.gather(batch).to(device), moved)
            loss = cross_entropy(network(crops[0]), labels[batch].to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval().requires_grad_(False)


def _groups(module: nn.Module, lr: float, weight_decay: float) -> list[dict[str, object]]:
    weights = [p for p in module.parameters() if p.ndim >= NO_DECAY_BELOW]
    others = [p for p in module.parameters() if p.ndim < NO_DECAY_BELOW]
    return [
        {"params": weights, "lr": lr, "weight_decay": weight_decay},
        {"params": others, "lr": lr, "weight_decay": 0.0},
    ]


@torch.no_grad()
def predict(network: nn.Module, images: ImageStore, context: Context, batch_size: int = 512) -> Tensor:
    """Logits ``[N, K]`` on the CPU of unaugmented images."""
    device = next(network.parameters()).device
    return torch.cat(
        [
            network(prepare(images.gather(block).to(device), context.view_size, context.mean, context.std)).cpu()
            for block in torch.arange(len(images)).split(batch_size)
        ]
    )
