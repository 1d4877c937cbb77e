"""Evaluator: transfer to semantic segmentation, with a light feature pyramid on the backbone's maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from sslkit.contracts import options
from sslkit.contracts.backbone import Backbone
from sslkit.contracts.dataset import IGNORE_INDEX, Split
from sslkit.contracts.evaluator import Evaluation, Evaluator, Subject
from sslkit.data.datasets.digit_scenes import DigitScenes
from sslkit.data.seeds import generator
from sslkit.errors import DataError
from sslkit.views.policy import normalise, scaled

Maps = Callable[[Tensor], Mapping[int, Tensor]]
"""Feature maps by stride of uint8 images ``[B, C, H, W]``."""


class Pyramid(nn.Module):
    """Logits for every pixel from a backbone's feature maps (Lin et al., CVPR 2017, arXiv 1612.03144).

    Each map is brought to ``width`` channels, the coarser ones are enlarged and added to the finer, and the finest
    sum is classified and enlarged to the image.

    Args:
        channels: channels of the maps, by stride.
        width: channels of the pyramid.
        classes: classes of a pixel.
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
        """``[B, classes, H, W]`` of maps by stride, for images of ``(H, W)``."""
        summed: Tensor | None = None
        for stride, lateral in reversed(list(zip(self.strides, self.lateral, strict=True))):
            own: Tensor = lateral(maps[stride])
            if summed is not None:
                own = own + interpolate(summed, own.shape[-2:], mode="bilinear")
            summed = own
        return interpolate(self.classify(summed), size, mode="bilinear")


class Segment(Evaluator):
    """A class for every pixel of data that have masks; without such data, of digits on textured backgrounds.

    The backbone is frozen unless the options say otherwise, so that the figure is the features'; the settings are fixed
    and the test images looked at once.  Pixels without a class do not count.
    """

    api = 1
    needs = frozenset()

    class Options(options.Options):
        width: int = Field(32, ge=1)
        """Channels of the pyramid."""
        epochs: int = Field(15, ge=1)
        """Passes over the images."""
        batch_size: int = Field(16, ge=2)
        """Images in a step."""
        lr: float = Field(2e-3, gt=0)
        """Peak learning rate (AdamW, cosine to 0)."""
        train_backbone: bool = False
        """Train the backbone too, at the same rate."""

    options: Options

    def evaluate(self, subject: Subject) -> Evaluation:
        """``miou``, the mean intersection over union of the classes, and ``pixel_accuracy``, of the test images.

        Raises:
            DataError: another data set than the run's own was asked for, and it has no masks.
        """
        own = self.options
        task = _task(subject)
        backbone = deepcopy(subject.backbone()).requires_grad_(own.train_backbone).train(own.train_backbone)
        device = next(backbone.parameters()).device

        def maps(images: Tensor) -> Mapping[int, Tensor]:
            with torch.set_grad_enabled(own.train_backbone and torch.is_grad_enabled()):
                found: Mapping[int, Tensor] = backbone.feature_maps(
                    normalise(scaled(images.to(device)), subject.context.mean, subject.context.std)
                )
            return found

        with torch.no_grad():
            first = maps(task.train.images.gather(torch.arange(2)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(subject.seed)
            channels = {stride: found.shape[1] for stride, found in first.items()}
            head = Pyramid(channels, own.width, len(task.classes)).to(device)
        self._train(head, backbone, maps, task, subject.seed)
        confusion = self._confusion(head.eval(), backbone.eval(), maps, task)
        figures = {
            "miou": mean_iou(confusion),
            "pixel_accuracy": float(confusion.diagonal().sum() / confusion.sum()),
        }
        protocol = {
            "split": "test",
            "data": task.data,
            "train_images": len(task.train.images),
            "images": len(task.test.images),
            "image_size": "x".join(map(str, task.test.images.shape[1:])),
            "classes": ", ".join(task.classes),
            "miou": "mean over classes of intersection / union over all test pixels that have a class",
            "pixel_head": "feature pyramid on feature_maps, AdamW, cosine to 0, cross-entropy",
            **own.model_dump(mode="json"),
        }
        return Evaluation(figures, protocol)

    def _train(self, head: Pyramid, backbone: Backbone, maps: Maps, task: Task, seed: int) -> None:
        own = self.options
        device = next(head.parameters()).device
        trained = [p for p in (*head.parameters(), *backbone.parameters()) if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=own.lr)
        count = len(task.train.images)
        size = min(own.batch_size, count)
        steps = count // size
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, own.epochs * steps)
        for epoch in range(own.epochs):
            order = torch.randperm(count, generator=generator(seed, "evaluation", 2, epoch))
            for batch in order[: steps * size].split(size):
                images, masks = task.train.images.gather(batch), _masks(task.train, batch)
                logits = head(maps(images), images.shape[2:])
                loss = cross_entropy(logits, masks.to(device), ignore_index=IGNORE_INDEX)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()

    @torch.no_grad()
    def _confusion(self, head: Pyramid, backbone: Backbone, maps: Maps, task: Task) -> Tensor:
        """``[K, K]`` counts of test pixels, true class by predicted class."""
        count = len(task.classes)
        confusion = torch.zeros(count * count, dtype=torch.int64)
        for block in torch.arange(len(task.test.images)).split(self.options.batch_size):
            images, masks = task.test.images.gather(block), _masks(task.test, block)
            found = head(maps(images), images.shape[2:]).argmax(1).cpu()
            counts = masks != IGNORE_INDEX
            confusion += torch.bincount(masks[counts] * count + found[counts], minlength=count * count)
        return confusion.view(count, count)


@dataclass(frozen=True)
class Task:
    """What is segmented: ``data`` names it, ``classes`` names the masks' values."""

    data: str
    train: Split
    test: Split
    classes: tuple[str, ...]


def _task(subject: Subject) -> Task:
    if subject.mask_names:
        name = subject.other_data or "the run's own"
        return Task(name, subject.split("train"), subject.split("test"), subject.mask_names)
    if subject.other_data:
        raise DataError(f"the data set {subject.other_data!r} has no masks: segmentation needs a class for every pixel")
    scenes = DigitScenes(DigitScenes.Options(channels=subject.context.channels))
    return Task(
        "digit-scenes: scikit-learn's digits on textured backgrounds",
        *(scenes.load("train"), scenes.load("test")),
        scenes.mask_names,
    )


def _masks(split: Split, places: Tensor) -> Tensor:
    assert split.masks is not None
    return split.masks[places].long()


def mean_iou(confusion: Tensor) -> float:
    """Mean over the classes that occur of intersection over union.

    Args:
        confusion: ``[K, K]`` counts of pixels, true class by predicted class.
    """
    hit = confusion.diagonal().double()
    union = confusion.sum(0) + confusion.sum(1) - confusion.diagonal()
    occurs = union > 0
    return float((hit[occurs] / union[occurs]).mean())
