"""Evaluator: a linear probe trained as the Self-Classifier report did it, with its curves."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sslkit.contracts import options
from sslkit.contracts.backbone import Backbone
from sslkit.contracts.evaluator import Evaluation, Evaluator, Subject
from sslkit.errors import DataError
from sslkit.evaluation.label_fractions import topk_accuracy
from sslkit.evaluation.supervised_training import TrainingSettings, fit, predict_logits
from sslkit.optimizers.lars import LarsSgd
from sslkit.views.option_types import AreaRange

VALIDATION_BATCH = 256
"""As in the report."""


class FrozenProbe(nn.Module):
    """A linear classifier on a backbone that is neither trained nor, in its statistics, changed."""

    def __init__(self, backbone: Backbone, classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(backbone.feature_dim, classes).to(next(backbone.parameters()).device)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)
        self.frozen = [backbone]  # not a submodule: train() must not reach it

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.frozen[0](images)
        logits: Tensor = self.classifier(features)
        return logits


class LinearSgd(Evaluator):
    """One linear layer on the frozen backbone: SGD with LARS, cosine, 100 epochs of augmented images, batches of 64.

    The protocol of the report "An analysis of self-supervised classification network" (87.89 % top-1 with ResNet-18 on
    CIFAR-10).  The report leaves learning rate and augmentation open: see the options.  Nothing is chosen; validation
    images serve for the curves alone.  ``linear`` finds the best classifier of the same features in seconds.
    """

    api = 1

    class Options(options.Options):
        epochs: int = Field(100, ge=1)
        """Passes over the training images (report: 100)."""
        batch_size: int = Field(64, ge=2)
        """Images in a step (report: 64)."""
        lr: float = Field(0.025, gt=0)
        """Peak learning rate; open in the report: SimSiam's 0.1 for a batch of 256, scaled to 64."""
        trust_coefficient: float = Field(0.001, gt=0)
        """LARS's factor; open in the report."""
        crop_scale: AreaRange = (0.08, 1.0)
        """Smallest and largest part of an image's area in a crop; open in the report: the usual."""
        flip_p: float = Field(0.5, ge=0, le=1)
        """Probability of mirroring left and right."""

    options: Options

    def evaluate(self, subject: Subject) -> Evaluation:
        """``top1`` and, of more than five classes, ``top5`` of the test images; ``curves``: one entry for each epoch.

        Raises:
            DataError: train, validation or test images have no labels.
        """
        train, validation, test = (subject.split(name) for name in ("train", "validation", "test"))
        if train.labels is None or validation.labels is None or test.labels is None:
            raise DataError("this evaluation needs labels on train, validation and test images")
        classes = len(subject.class_names) or int(max(train.labels.max(), test.labels.max())) + 1
        own = self.options
        settings = TrainingSettings(own.epochs, own.batch_size, own.lr, own.lr, 0.0, own.crop_scale, own.flip_p)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(subject.seed)
            probe = FrozenProbe(subject.backbone(), classes)
        optimizer = LarsSgd(
            [{"params": [probe.classifier.weight]}, {"params": [probe.classifier.bias], "adapt": False}],
            lr=own.lr,
            trust_coefficient=own.trust_coefficient,
        )
        curves: list[dict[str, float]] = []
        known = validation.labels.cpu()
        for done in fit(probe, optimizer, train.images, train.labels.cpu(), subject.context, settings, subject.seed):
            logits = predict_logits(probe, validation.images, subject.context, VALIDATION_BATCH)
            curves.append(
                {
                    "train_loss": done.loss,
                    "train_top1": done.accuracy,
                    "validation_loss": float(cross_entropy(logits, known)),
                    "validation_top1": topk_accuracy(logits, known)["top1"],
                }
            )
        metrics: dict[str, Any] = topk_accuracy(predict_logits(probe, test.images, subject.context), test.labels.cpu())
        protocol = {
            "split": "test",
            "images": len(test.images),
            "train_images": len(train.images),
            "classes": classes,
            "probe": "one linear layer on the frozen backbone (eval mode), trained on random crops",
            "optimizer": "SGD with LARS, momentum 0.9, no weight decay, cosine to 0",
            **own.model_dump(mode="json"),
            "trainings": {"1": 1},
        }
        return Evaluation(metrics | {"curves": curves}, protocol)
