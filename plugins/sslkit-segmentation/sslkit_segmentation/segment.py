"""Evaluator for semantic segmentation, which trains a light feature pyramid on the backbone's feature maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

import sslkit
from sslkit_segmentation.digit_scenes import DigitScenes

FeatureMaps = Callable[[Tensor], Mapping[int, Tensor]]
"""Function from uint8 images ``[B, C, H, W]`` to a mapping from stride to feature map."""


class Pyramid(nn.Module):
    """Feature pyramid that returns logits for every pixel (Lin et al., CVPR 2017, arXiv 1612.03144).

    A 1 x 1 convolution maps each feature map to ``width`` channels. Starting with the smallest map, each map is
    enlarged and added to the next larger map. Two convolutions compute logits from the largest map. The logits are
    enlarged to the size of the image.

    Args:
        channels: mapping from stride to the number of channels of the feature map.
        width: number of channels of the pyramid.
        classes: number of classes K.
    """

    def __init__(self, channels: Mapping[int, int], width: int, classes: int) -> None:
        super().__init__()
        self.strides = sorted(channels)
        self.lateral = nn.ModuleList(nn.Conv2d(channels[stride], width, 1) for stride in self.strides)
        self.classify = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, classes, 1),
        )

    def forward(self, maps: Mapping[int, Tensor], size: tuple[int, int]) -> Tensor:
        """Return logits ``[B, K, H, W]`` for images of size ``(H, W)``, given a mapping from stride to feature map."""
        summed: Tensor | None = None
        for stride, lateral in reversed(list(zip(self.strides, self.lateral, strict=True))):
            projected: Tensor = lateral(maps[stride])
            if summed is not None:
                projected = projected + interpolate(summed, projected.shape[-2:], mode="bilinear")
            summed = projected
        return interpolate(self.classify(summed), size, mode="bilinear")


class Segment(sslkit.Evaluator):
    """Evaluator that trains a feature pyramid on the backbone's feature maps to segment images.

    The evaluator uses the run's data set or, if this data set has no masks, the ``digit-scenes`` data set. The backbone
    is frozen by default, so that the metrics measure its features. No setting is tuned, and the test images are
    evaluated once. Pixels without a class are ignored.
    """

    api = 2
    needs = frozenset()

    class Options(sslkit.Options):
        width: int = Field(32, ge=1)
        """Number of channels of the pyramid."""
        epochs: int = Field(15, ge=1)
        """Number of passes over the training images."""
        batch_size: int = Field(16, ge=2)
        """Number of images per step."""
        lr: float = Field(2e-3, gt=0)
        """Peak learning rate of AdamW; decays to 0 along a half cosine."""
        train_backbone: bool = False
        """Also train the backbone, with the same learning rate."""

    options: Options

    @classmethod
    def check_options(cls, folder: Path) -> Mapping[str, Any]:
        return {"epochs": 1}

    def evaluate(self, subject: sslkit.Subject) -> sslkit.Evaluation:
        """Return ``miou`` (mean intersection over union over classes) and ``pixel_accuracy`` on the test images.

        Raises:
            sslkit.DataError: the user selected a different data set (``--data``) that has no masks.
        """
        own = self.options
        data = _choose_data(subject)
        backbone = deepcopy(subject.backbone()).requires_grad_(own.train_backbone).train(own.train_backbone)
        device = next(backbone.parameters()).device
        mean, std = torch.tensor([subject.context.mean, subject.context.std], device=device)[..., None, None]

        def feature_maps(images: Tensor) -> Mapping[int, Tensor]:
            with torch.set_grad_enabled(own.train_backbone and torch.is_grad_enabled()):
                maps: Mapping[int, Tensor] = backbone.feature_maps((images.to(device).float() / 255 - mean) / std)
            return maps

        with torch.no_grad():
            example = feature_maps(data.train.images.gather(torch.arange(2)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(subject.seed)
            channels = {stride: maps.shape[1] for stride, maps in example.items()}
            head = Pyramid(channels, own.width, len(data.classes)).to(device)
        self._train(head, backbone, feature_maps, data.train, subject.seed)
        confusion = self._confusion(head.eval(), backbone.eval(), feature_maps, data)
        metrics = {
            "miou": mean_iou(confusion),
            "pixel_accuracy": float(confusion.diagonal().sum() / confusion.sum()),
        }
        protocol = {
            "split": "test",
            "data": data.name,
            "train_images": len(data.train.images),
            "images": len(data.test.images),
            "image_size": "x".join(map(str, data.test.images.shape[1:])),
            "classes": ", ".join(data.classes),
            "miou": "mean over classes of intersection / union over all test pixels that have a class",
            "pixel_head": "feature pyramid on feature_maps, AdamW, cosine to 0, cross-entropy",
            **own.model_dump(mode="json"),
        }
        return sslkit.Evaluation(metrics, protocol)

    def _train(
        self, head: Pyramid, backbone: sslkit.Backbone, feature_maps: FeatureMaps, train: sslkit.Split, seed: int
    ) -> None:
        own = self.options
        device = next(head.parameters()).device
        parameters = [p for p in (*head.parameters(), *backbone.parameters()) if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=own.lr)
        count = len(train.images)
        size = min(own.batch_size, count)
        steps = count // size
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, own.epochs * steps)
        for epoch in range(own.epochs):
            order = torch.randperm(count, generator=sslkit.seeded_generator(seed, "evaluation", 2, epoch))
            for batch in order[: steps * size].split(size):
                images, masks = train.images.gather(batch), _masks(train, batch)
                logits = head(feature_maps(images), images.shape[2:])
                loss = cross_entropy(logits, masks.to(device), ignore_index=sslkit.IGNORE_INDEX)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()

    @torch.no_grad()
    def _confusion(
        self, head: Pyramid, backbone: sslkit.Backbone, feature_maps: FeatureMaps, data: SegmentationData
    ) -> Tensor:
        """Return the confusion matrix ``[K, K]`` of test pixels; rows are true classes, and columns are predictions."""
        count = len(data.classes)
        confusion = torch.zeros(count * count, dtype=torch.int64)
        for block in torch.arange(len(data.test.images)).split(self.options.batch_size):
            images, masks = data.test.images.gather(block), _masks(data.test, block)
            predictions = head(feature_maps(images), images.shape[2:]).argmax(1).cpu()
            valid = masks != sslkit.IGNORE_INDEX
            confusion += torch.bincount(masks[valid] * count + predictions[valid], minlength=count * count)
        return confusion.view(count, count)


@dataclass(frozen=True)
class SegmentationData:
    """Splits with masks. ``name`` describes the data set, and ``classes[v]`` is the class name of mask value ``v``."""

    name: str
    train: sslkit.Split
    test: sslkit.Split
    classes: tuple[str, ...]


def _choose_data(subject: sslkit.Subject) -> SegmentationData:
    if subject.mask_names:
        name = subject.other_data or "the run's own"
        return SegmentationData(name, subject.split("train"), subject.split("test"), subject.mask_names)
    if subject.other_data:
        raise sslkit.DataError(
            f"the data set {subject.other_data!r} has no masks: segmentation needs a class for every pixel. "
            "Name a data set with masks, or leave --data out to segment digit-scenes."
        )
    scenes = DigitScenes(DigitScenes.Options(channels=subject.context.channels))
    return SegmentationData(
        "digit-scenes: scikit-learn's digits on textured backgrounds",
        *(scenes.load("train"), scenes.load("test")),
        scenes.mask_names,
    )


def _masks(split: sslkit.Split, indices: Tensor) -> Tensor:
    assert split.masks is not None
    return split.masks[indices].long()


def mean_iou(confusion: Tensor) -> float:
    """Return the mean intersection over union of all classes that occur in masks or predictions.

    Args:
        confusion: number of pixels ``[K, K]``; rows are true classes, and columns are predicted classes.
    """
    hits = confusion.diagonal().double()
    union = confusion.sum(0) + confusion.sum(1) - confusion.diagonal()
    occurs = union > 0
    return float((hits[occurs] / union[occurs]).mean())
