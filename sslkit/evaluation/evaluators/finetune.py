"""Evaluator: fine-tuning of the whole network on labels."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from sslkit.contracts.dataset import ImageStore
from sslkit.contracts.evaluator import Evaluation, Evaluator, Subject
from sslkit.data.label_subsets import nested_subsets
from sslkit.data.splits import stratified_split
from sslkit.data.store import ConcatStore, SubsetStore
from sslkit.evaluation.accuracy import topk_accuracy
from sslkit.evaluation.label_fractions import LabelFractionOptions, aggregate_seeds, same_labels
from sslkit.evaluation.labels import count_classes, require_labels
from sslkit.evaluation.supervised_training import TrainingSettings, predict_logits, train_classifier
from sslkit.views.option_types import AreaRange

LearningRate = Annotated[float, Field(gt=0)]

HELD_OUT = 0.2
"""Fraction of the labels that is held out to choose the learning rate."""


class Finetune(Evaluator):
    """Evaluator that trains a copy of the backbone and a linear classifier end to end, on a fraction of the labels.

    To choose the learning rate of the backbone, one network per rate is trained on four fifths of this fraction and
    validated on the remaining fifth. A final network is trained on the whole fraction with the best rate. The learning
    rate of the random-weights baseline is chosen in the same way. All other settings are fixed. The test images are
    evaluated once, after the final epoch.
    """

    api = 2

    class Options(LabelFractionOptions):
        epochs: int = Field(50, ge=1)
        """Number of passes over the labelled images."""
        min_steps: int = Field(300, ge=0)
        """Smallest number of optimizer steps. With few labels, the number of epochs is increased to reach this number
        of steps, because training from scratch (the baseline) would otherwise end too early."""
        batch_size: int = Field(128, ge=2)
        """Number of images per step; all images if there are fewer."""
        lr_backbones: tuple[LearningRate, ...] = Field((0.01, 0.05), min_length=1)
        """Peak learning rates of the backbone to choose from. A single rate is used without validation."""
        lr_head: float = Field(0.05, gt=0)
        """Peak learning rate of the classifier."""
        weight_decay: float = Field(5e-4, ge=0)
        """Weight decay of weights; biases and normalisation layers have none."""
        crop_scale: AreaRange = (0.5, 1.0)
        """Smallest and largest area of a crop, as a fraction of the image's area."""
        flip_p: float = Field(0.5, ge=0, le=1)
        """Probability of a horizontal flip; use 0 if a flip can change the class, as with digits."""

    options: Options

    @classmethod
    def check_options(cls, folder: Path) -> Mapping[str, Any]:
        return {"epochs": 2, "min_steps": 0}

    def evaluate(self, subject: Subject) -> Evaluation:
        """Return the test accuracy for each fraction of the labels: ``top1`` and, with over five classes, ``top5``.

        Raises:
            DataError: training, validation or test images have no labels.
        """
        train, validation, test = (subject.split(name) for name in ("train", "validation", "test"))
        images = ConcatStore(train.images, validation.images)
        labels = torch.cat([require_labels(train, "train"), require_labels(validation, "validation")])
        test_labels = require_labels(test, "test")
        classes = count_classes(subject.class_names, labels, test_labels)
        own = self.options
        by_fraction: dict[float, list[dict[str, float]]] = {}
        chosen: dict[str, list[float]] = {}
        epochs: dict[str, int] = {}
        labels_used: dict[str, int] = {}
        for fraction in own.fractions:
            by_fraction[fraction], key = [], f"{fraction:g}"
            for seed in own.seeds_of(fraction, subject.seed):
                indices = nested_subsets(labels, [fraction], seed)[fraction]
                subset, subset_labels = SubsetStore(images, indices), labels[indices]
                lr = self._choose_lr(subject, subset, subset_labels, classes, seed)
                network = self._train(subject, subset, subset_labels, classes, lr, seed)
                chosen.setdefault(key, []).append(lr)
                epochs[key], labels_used[key] = self._epochs(len(indices)), len(indices)
                logits = predict_logits(network, test.images, subject.context)
                by_fraction[fraction].append(topk_accuracy(logits, test_labels))
        protocol = {
            "split": "test",
            "images": len(test.images),
            "train_images": len(images),
            "labels_used": labels_used,
            **same_labels(labels_used),
            "classes": classes,
            "trained": "backbone and linear classifier, end to end, float32; the last epoch counts",
            "optimizer": "SGD, momentum 0.9 (Nesterov), cosine to 0",
            **own.model_dump(mode="json", exclude={"fractions", "seeds", "epochs"}),
            "lr_backbone_chosen_on": "a fifth of the fraction's labels, then trained on all of them; "
            "the first rate if no class has two images"
            if len(own.lr_backbones) > 1
            else "nothing: a single rate was given",
            "lr_backbone_chosen": chosen,
            "epochs": epochs,
            "trainings": own.trainings(),
        }
        return Evaluation(aggregate_seeds(by_fraction), protocol)

    def _choose_lr(self, subject: Subject, images: ImageStore, labels: Tensor, classes: int, seed: int) -> float:
        rates = self.options.lr_backbones
        train, held_out = stratified_split(labels, HELD_OUT, seed)
        if len(rates) == 1 or not len(held_out):
            return rates[0]
        accuracy: dict[float, float] = {}
        for lr in rates:
            network = self._train(subject, SubsetStore(images, train), labels[train], classes, lr, seed)
            logits = predict_logits(network, SubsetStore(images, held_out), subject.context)
            accuracy[lr] = topk_accuracy(logits, labels[held_out])["top1"]
        return max(rates, key=lambda lr: accuracy[lr])

    def _train(
        self, subject: Subject, images: ImageStore, labels: Tensor, classes: int, lr_backbone: float, seed: int
    ) -> nn.Module:
        own = self.options
        settings = TrainingSettings(
            self._epochs(len(images)), own.batch_size, lr_backbone, own.lr_head, own.weight_decay, own.crop_scale,
            own.flip_p,
        )  # fmt: skip
        return train_classifier(deepcopy(subject.backbone()), images, labels, classes, subject.context, settings, seed)

    def _epochs(self, images: int) -> int:
        steps = images // min(self.options.batch_size, images)
        return max(self.options.epochs, -(-self.options.min_steps // steps))
