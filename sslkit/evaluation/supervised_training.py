"""Supervised training with augmented images, for fine-tuning and for linear probes trained by SGD."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sslkit.contracts.backbone import Backbone
from sslkit.contracts.context import Context
from sslkit.contracts.dataset import ImageStore
from sslkit.contracts.preprocessing import Preprocessing
from sslkit.contracts.schedule import cosine_decay
from sslkit.contracts.views import move_parameters
from sslkit.data.seeds import seeded_generator
from sslkit.device.transfer import to_device
from sslkit.features.row_buffer import RowBuffer
from sslkit.optimizers.parameter_groups import parameter_groups
from sslkit.views.crops import Crops
from sslkit.views.preprocess import preprocess


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of supervised training.

    Attributes:
        epochs: number of passes over the images.
        batch_size: number of images per step; all images if there are fewer.
        lr_backbone: peak learning rate of the backbone.
        lr_head: peak learning rate of the classifier.
        weight_decay: weight decay of weights; biases and normalisation layers have none.
        crop_scale: smallest and largest area of a crop, as a fraction of the image's area.
        flip_p: probability of a horizontal flip.
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
    """Training loss and accuracy of one epoch, averaged over its batches.

    Attributes:
        loss: mean cross-entropy.
        accuracy: accuracy in [0, 1].
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
    """Train a backbone and a new linear classifier by SGD with Nesterov momentum 0.9 and a cosine schedule.

    Args:
        backbone: the backbone; trained in place, on its device.
        images: the images.
        labels: int64 tensor ``[N]`` on the CPU.
        classes: number of classes.
        context: the ``Context`` of the run; view size and normalisation are used.
        settings: settings of the training.
        seed: seed for the order of the images and for the crops.

    Returns:
        Network of backbone and classifier in eval mode, which maps images ``[B, C, S, S]`` to logits ``[B, classes]``.
    """
    with torch.random.fork_rng(devices=[]):  # the random weights are replaced by zeros
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
    """Train a network with cross-entropy on random crops. Learning rates decay to 0 along a half cosine.

    Args:
        network: network that maps images ``[B, C, S, S]`` to logits ``[B, K]``.
        optimizer: optimizer of the parameters to train, with their peak learning rates.
        images: the images.
        labels: int64 tensor ``[N]`` on the CPU.
        context: the ``Context`` of the run; view size and normalisation are used.
        settings: settings of the training, except for the learning rates, which are not used.
        seed: seed for the order of the images and for the crops.

    Yields:
        The result of each completed epoch.
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
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine_decay(step, total))
    for epoch in range(settings.epochs):
        order = torch.randperm(len(images), generator=seeded_generator(seed, "evaluation", epoch))
        sums = torch.zeros(2, device=device)
        for step, batch in enumerate(order[: steps * size].split(size)):
            parameters = move_parameters(views.draw(size, seeded_generator(seed, "evaluation", epoch, step)), device)
            (crops,) = views.apply(to_device(images.gather(batch), device), parameters)
            sums += train_step(network, optimizer, crops[0], to_device(labels[batch], device))
            schedule.step()
        loss_sum, accuracy_sum = sums.tolist()
        yield EpochResult(loss_sum / steps, accuracy_sum / steps)


def train_step(network: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> Tensor:
    """Train on one batch, and return cross-entropy and accuracy ``[2]`` on the device."""
    logits = network(images)
    loss = cross_entropy(logits, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return torch.stack([loss.detach(), (logits.argmax(1) == labels).float().mean()])


def _groups(module: nn.Module, lr: float, weight_decay: float) -> list[dict[str, object]]:
    return [
        {"params": list(group.parameters), "lr": lr, "weight_decay": weight_decay if group.decay else 0.0}
        for group in parameter_groups(module)
    ]


@torch.no_grad()
def predict_logits(network: nn.Module, images: ImageStore, context: Context, batch_size: int = 512) -> Tensor:
    """Return the network's logits for unaugmented images, as a tensor ``[N, K]`` on the CPU."""
    device = next(network.parameters()).device
    preprocessing = Preprocessing(context.view_size, context.mean, context.std, context.interpolation)
    logits = RowBuffer(len(images))
    for block in torch.arange(len(images)).split(batch_size):
        logits.add(network(preprocess(to_device(images.gather(block), device), preprocessing)))
    return logits.finish()
