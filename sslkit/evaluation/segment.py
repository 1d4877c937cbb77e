"""Evaluator: transfer to semantic segmentation, with a light feature pyramid on the backbone's maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from sslkit import options
from sslkit.contracts.backbone import Backbone
from sslkit.contracts.evaluator import Evaluation, Evaluator, Subject
from sslkit.data.datasets.digits import Digits
from sslkit.data.scenes import Scenes, compose
from sslkit.data.seeds import generator
from sslkit.views.policy import normalise, scaled

Maps = Callable[[Tensor], Mapping[int, Tensor]]
"""Feature maps by stride of uint8 images ``[B, C, H, W]``."""

CLASSES = 11
"""Background and ten digits."""


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
    """Digits on textured backgrounds, found pixel by pixel; the data set of the run does not matter.

    The scenes are composed of scikit-learn's digits: those to train on of its train part, those to test on of the
    held-out part.  The backbone is frozen unless the options say otherwise, so that the figure is the features'; the
    settings are fixed and the test scenes looked at once.
    """

    api = 1
    needs = frozenset()

    class Options(options.Options):
        scenes: int = Field(600, ge=8)
        """Scenes to train on."""
        test_scenes: int = Field(300, ge=1)
        """Scenes to test on."""
        side: int = Field(48, ge=32)
        """Side of a scene in pixels."""
        most_digits: int = Field(3, ge=1)
        """Most digits of a scene."""
        width: int = Field(32, ge=1)
        """Channels of the pyramid."""
        epochs: int = Field(15, ge=1)
        """Passes over the scenes."""
        batch_size: int = Field(16, ge=2)
        """Scenes in a step."""
        lr: float = Field(2e-3, gt=0)
        """Peak learning rate (AdamW, cosine to 0)."""
        train_backbone: bool = False
        """Train the backbone too, at the same rate."""

    options: Options

    def evaluate(self, subject: Subject) -> Evaluation:
        """``miou``, the mean intersection over union of the classes, and ``pixel_accuracy``, of the test scenes."""
        own, context, seed = self.options, subject.context, subject.seed
        digits = Digits(Digits.Options(size=16))
        train, test = (
            compose(
                digits.load(split),
                count,
                own.side,
                context.channels,
                own.most_digits,
                generator(seed, "evaluation", part),
            )
            for part, (split, count) in enumerate((("train", own.scenes), ("test", own.test_scenes)))
        )
        backbone = deepcopy(subject.backbone()).requires_grad_(own.train_backbone).train(own.train_backbone)
        device = next(backbone.parameters()).device

        def maps(images: Tensor) -> Mapping[int, Tensor]:
            with torch.set_grad_enabled(own.train_backbone and torch.is_grad_enabled()):
                found: Mapping[int, Tensor] = backbone.feature_maps(
                    normalise(scaled(images.to(device)), context.mean, context.std)
                )
            return found

        with torch.no_grad():
            channels = {stride: found.shape[1] for stride, found in maps(train.images[:2]).items()}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = Pyramid(channels, own.width, CLASSES).to(device)
        self._train(head, backbone, maps, train, seed)
        head.eval()
        backbone.eval()
        confusion = torch.zeros(CLASSES, CLASSES, dtype=torch.int64)
        with torch.no_grad():
            for block in torch.arange(len(test.images)).split(own.batch_size):
                found = head(maps(test.images[block]), (own.side, own.side)).argmax(1).cpu()
                confusion += torch.bincount(
                    (test.masks[block] * CLASSES + found).flatten(), minlength=CLASSES * CLASSES
                ).view(CLASSES, CLASSES)
        figures = {
            "miou": mean_iou(confusion),
            "pixel_accuracy": float(confusion.diagonal().sum() / confusion.sum()),
        }
        protocol = {
            "split": "test scenes, of held-out digits",
            "data": "scikit-learn's digits on textured backgrounds",
            "classes": "background and ten digits",
            "miou": "mean over classes of intersection / union over all test pixels",
            "head": "feature pyramid on feature_maps, AdamW, cosine to 0, cross-entropy",
            **own.model_dump(mode="json"),
        }
        return Evaluation(figures, protocol)

    def _train(self, head: Pyramid, backbone: Backbone, maps: Maps, scenes: Scenes, seed: int) -> None:
        own = self.options
        device = next(head.parameters()).device
        trained = [p for p in (*head.parameters(), *backbone.parameters()) if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=own.lr)
        size = min(own.batch_size, len(scenes.images))
        steps = len(scenes.images) // size
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, own.epochs * steps)
        for epoch in range(own.epochs):
            order = torch.randperm(len(scenes.images), generator=generator(seed, "evaluation", 2, epoch))
            for batch in order[: steps * size].split(size):
                logits = head(maps(scenes.images[batch]), (own.side, own.side))
                loss = cross_entropy(logits, scenes.masks[batch].to(device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()


def mean_iou(confusion: Tensor) -> float:
    """Mean over the classes that occur of intersection over union.

    Args:
        confusion: ``[K, K]`` counts of pixels, true class by predicted class.
    """
    hit = confusion.diagonal().double()
    union = confusion.sum(0) + confusion.sum(1) - confusion.diagonal()
    occurs = union > 0
    return float((hit[occurs] / union[occurs]).mean())
