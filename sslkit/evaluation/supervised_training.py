"""Supervised training, as evaluation by fine-tuning and by trained probes needs it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.context import Context
from sslkit.contracts.dataset import ImageStore
from sslkit.contracts.views import move_parameters
from sslkit.data.seeds import seeded_generator
from sslkit.optimizers.parameter_groups import parameter_groups
from sslkit.views.crops import Crops
from sslkit.views.preprocess import preprocess


@dataclass(frozen=True)
class TrainingSettings:
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


@dataclass(frozen=True)
class EpochResult:
    """One epoch's means over its batches, as they were trained on.

    Attributes:
        loss: cross-entropy.
        accuracy: fraction in 0..1.
    """

    loss: float
    accuracy: float


def train_classifier(
    backbone: Backbone,
    images: ImageStore,
    labels: Tensor,
    classes: int,
    context: Context,
    settings: TrainingSettings,
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
        seed: of order and crops.

    Returns:
        Backbone and classifier, in eval mode: images ``[B, C, S, S]`` to logits ``[B, classes]``.
    """
    with torch.random.fork_rng(devices=[]):  # what it draws is replaced
        classifier = nn.Linear(backbone.feature_dim, classes)
    nn.init.zeros_(classifier.weight)
    nn.init.zeros_(classifier.bias)
    device = next(backbone.parameters()).device
    network = nn.Sequential(backbone.requires_grad_(True), classifier.to(device)).train()
    optimizer = torch.optim.SGD(
        _groups(backbone, settings.lr_backbone, settings.weight_decay)
        + _groups(classifier, settings.lr_head, settings.weight_decay),
        momentum=0.9,
        nesterov=True,
    )
    for _ in fit(network, optimizer, images, labels, context, settings, seed):
        pass
    return network.eval().requires_grad_(False)


def fit(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: ImageStore,
    labels: Tensor,
    context: Context,
    settings: TrainingSettings,
    seed: int,
) -> Iterator[EpochResult]:
    """Train by cross-entropy on random crops; learning rates follow half a cosine to 0, step by step.

    Args:
        network: images ``[B, C, S, S]`` to logits ``[B, K]``.
        optimizer: of the parameters to train.
        images: the images.
        labels: ``[N]`` int64 on the CPU.
        context: of the run: size and normalisation of its views.
        settings: epochs, batch size and crops; learning rates are the optimizer's.
        seed: of order and crops.

    Yields:
        Each epoch's progress, once it is over.
    """
    device = next(network.parameters()).device
    options = Crops.Options(
        size=context.view_size, global_crops=1, global_scale=settings.crop_scale, flip_p=settings.flip_p,
        jitter_p=0.0, grayscale_p=0.0,
    )  # fmt: skip
    views = Crops(options, context)
    size = min(settings.batch_size, len(images))
    steps = len(images) // size
    total = settings.epochs * steps
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 + math.cos(math.pi * step / total)) / 2)
    for epoch in range(settings.epochs):
        order = torch.randperm(len(images), generator=seeded_generator(seed, "evaluation", epoch))
        sums = torch.zeros(2, device=device)
        for place in range(steps):
            batch = order[place * size : (place + 1) * size]
            drawn = move_parameters(views.draw(size, seeded_generator(seed, "evaluation", epoch, place)), device)
            (crops,) = views.apply(images.gather(batch).to(device), drawn)
            known = labels[batch].to(device)
            logits = network(crops[0])
            loss = cross_entropy(logits, known)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            sums += torch.stack([loss.detach(), (logits.argmax(1) == known).float().mean()])
        loss_sum, right_sum = sums.tolist()
        yield EpochResult(loss_sum / steps, right_sum / steps)


def _groups(module: nn.Module, lr: float, weight_decay: float) -> list[dict[str, object]]:
    return [
        {"params": list(group.parameters), "lr": lr, "weight_decay": weight_decay if group.decay else 0.0}
        for group in parameter_groups(module)
    ]


@torch.no_grad()
def predict_logits(network: nn.Module, images: ImageStore, context: Context, batch_size: int = 512) -> Tensor:
    """Logits ``[N, K]`` on the CPU of unaugmented images."""
    device = next(network.parameters()).device
    return torch.cat(
        [
            network(preprocess(images.gather(block).to(device), context.view_size, context.mean, context.std)).cpu()
            for block in torch.arange(len(images)).split(batch_size)
        ]
    )
