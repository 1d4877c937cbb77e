"""Evaluator: linear probe trained by SGD with augmented images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sslkit.contracts import options
from sslkit.contracts.backbone import Backbone
from sslkit.contracts.evaluator import Evaluation, Evaluator, Subject
from sslkit.data.store import ConcatStore
from sslkit.evaluation.accuracy import topk_accuracy
from sslkit.evaluation.labels import count_classes, require_labels
from sslkit.evaluation.supervised_training import TrainingSettings, fit, predict_logits
from sslkit.optimizers.lars import LarsSgd
from sslkit.views.option_types import AreaRange

VALIDATION_BATCH = 256
"""Number of images per batch when validation curves are computed."""


class FrozenProbe(nn.Module):
    """Linear classifier on a frozen backbone, which stays in eval mode."""

    def __init__(self, backbone: Backbone, classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(backbone.feature_dim, classes).to(next(backbone.parameters()).device)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)
        self.frozen = [backbone]  # in a list, so that train() does not change its mode

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.frozen[0](images)
        logits: Tensor = self.classifier(features)
        return logits


class LinearSgd(Evaluator):
    """Evaluator that trains one linear layer on the frozen backbone by SGD with LARS, on random crops.

    All settings are fixed; validation images are only used for the curves. Optimizer, learning rate and crops follow
    the linear evaluation of the authors of Self-Classifier, with the learning rate scaled to batches of 64 images. The
    evaluator ``linear`` instead fits a linear classifier to convergence on unaugmented images, in seconds.
    """

    api = 2

    class Options(options.Options):
        epochs: int = Field(100, ge=1)
        """Number of passes over the training images."""
        batch_size: int = Field(64, ge=2)
        """Number of images per step."""
        lr: float = Field(0.0125, gt=0)
        """Peak learning rate, the authors' 0.8 for a batch of 4096 scaled to 64. Scale the rate with the batch size."""
        trust_coefficient: float = Field(0.001, gt=0)
        """Trust coefficient of LARS."""
        crop_scale: AreaRange = (0.08, 1.0)
        """Smallest and largest area of a crop, as a fraction of the image's area."""
        flip_p: float = Field(0.5, ge=0, le=1)
        """Probability of a horizontal flip."""
        validation_curves: bool = True
        """Hold out the validation images and measure curves on them. If false, also train on the validation images, as
        publications without held-out images usually do."""

    options: Options

    @classmethod
    def check_options(cls, folder: Path) -> Mapping[str, Any]:
        return {"epochs": 2}

    def evaluate(self, subject: Subject) -> Evaluation:
        """Return the test accuracy ``top1``, with more than five classes also ``top5``, and ``curves`` over epochs.

        Raises:
            DataError: training, validation or test images have no labels.
        """
        train, validation, test = (subject.split(name) for name in ("train", "validation", "test"))
        train_labels, test_labels = require_labels(train, "train"), require_labels(test, "test")
        validation_labels = require_labels(validation, "validation")
        classes = count_classes(subject.class_names, train_labels, validation_labels, test_labels)
        images = train.images
        if not self.options.validation_curves:
            images, train_labels = ConcatStore(images, validation.images), torch.cat([train_labels, validation_labels])
        own = self.options
        settings = TrainingSettings(own.epochs, own.batch_size, own.lr, own.lr, 0.0, own.crop_scale, own.flip_p)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(subject.seed)
            probe = FrozenProbe(subject.backbone(), classes)
        optimizer = LarsSgd(
            [{"params": list(probe.classifier.parameters())}], lr=own.lr, trust_coefficient=own.trust_coefficient
        )
        curves: list[dict[str, float]] = []
        for epoch in fit(probe, optimizer, images, train_labels, subject.context, settings, subject.seed):
            measured = {"train_loss": epoch.loss, "train_top1": epoch.accuracy}
            if own.validation_curves:
                logits = predict_logits(probe, validation.images, subject.context, VALIDATION_BATCH)
                measured["validation_loss"] = float(cross_entropy(logits, validation_labels))
                measured["validation_top1"] = topk_accuracy(logits, validation_labels)["top1"]
            curves.append(measured)
        metrics: dict[str, Any] = topk_accuracy(predict_logits(probe, test.images, subject.context), test_labels)
        protocol = {
            "split": "test",
            "images": len(test.images),
            "train_images": len(images),
            "classes": classes,
            "probe": "one linear layer on the frozen backbone (eval mode), trained on random crops",
            "optimizer": "SGD with LARS on weight and bias, momentum 0.9, no weight decay, cosine to 0",
            **own.model_dump(mode="json"),
            "trainings": {"1": 1},
        }
        return Evaluation(metrics | {"curves": curves}, protocol)
