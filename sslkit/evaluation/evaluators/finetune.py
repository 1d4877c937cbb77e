"""Evaluator: fine-tuning, the whole network trained on labels."""

from __future__ import annotations

from copy import deepcopy
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from sslkit.contracts.dataset import ImageStore
from sslkit.contracts.evaluator import Evaluation, Evaluator, Subject
from sslkit.data.label_subsets import nested_fractions
from sslkit.data.splits import Joined, Subset, stratified
from sslkit.errors import DataError
from sslkit.evaluation.label_fractions import LabelFractionOptions, aggregate_seeds, topk_accuracy
from sslkit.evaluation.supervised_training import TrainingSettings, predict_logits, train_classifier
from sslkit.views.option_types import AreaRange

Rate = Annotated[float, Field(gt=0)]

HELD_OUT = 0.2
"""Part of the labels that chooses among learning rates."""


class Finetune(Evaluator):
    """Trains a copy of the backbone and a new linear classifier end to end, on all labels or a fraction of them.

    The backbone's learning rate is chosen: a fifth of the fraction's own labels is held out, the rest trained on with
    each rate, and all of them with the best.  An untrained network, which is to be trained from scratch, chooses among
    the same.  All other settings are fixed, and the network is evaluated on the test images once, after its last epoch.
    """

    api = 1

    class Options(LabelFractionOptions):
        epochs: int = Field(50, ge=1)
        """Passes over the labelled images."""
        min_steps: int = Field(300, ge=0)
        """Fewest optimizer steps: with few labels there are as many more epochs, or training from scratch, beside which
        this is to be read, would end before it has learned anything."""
        batch_size: int = Field(128, ge=2)
        """Images in a step; all of them, where there are fewer."""
        lr_backbones: tuple[Rate, ...] = Field((0.01, 0.05), min_length=1)
        """Peak learning rates of the backbone to choose from; a single one is taken as it is, in less time."""
        lr_head: float = Field(0.05, gt=0)
        """Peak learning rate of the classifier."""
        weight_decay: float = Field(5e-4, ge=0)
        """Weight decay of weights; biases and normalisation layers have none."""
        crop_scale: AreaRange = (0.5, 1.0)
        """Smallest and largest part of an image's area in a crop."""
        flip_p: float = Field(0.5, ge=0, le=1)
        """Probability of mirroring left and right; 0 for images such as digits, whose meaning that changes."""

    options: Options

    def evaluate(self, subject: Subject) -> Evaluation:
        """``top1`` and, of more than five classes, ``top5`` of the test images, by fraction.

        Raises:
            DataError: train or test images have no labels.
        """
        train, validation, test = (subject.split(name) for name in ("train", "validation", "test"))
        if train.labels is None or validation.labels is None or test.labels is None:
            raise DataError("fine-tuning needs labels on train, validation and test images")
        images = Joined(train.images, validation.images)
        labels = torch.cat([train.labels, validation.labels]).cpu()
        classes = len(subject.class_names) or int(max(labels.max(), test.labels.max())) + 1
        own = self.options
        by_fraction: dict[float, list[dict[str, float]]] = {}
        chosen: dict[str, list[float]] = {}
        epochs: dict[str, int] = {}
        used: dict[str, int] = {}
        for fraction in own.fractions:
            by_fraction[fraction] = []
            for seed in own.of(fraction, subject.seed):
                places = nested_fractions(labels, [fraction], seed)[fraction]
                part, known = Subset(images, places), labels[places]
                rate = self._choose(subject, part, known, classes, seed)
                network = self._train(subject, part, known, classes, rate, seed)
                chosen.setdefault(f"{fraction:g}", []).append(rate)
                epochs[f"{fraction:g}"], used[f"{fraction:g}"] = self._epochs(len(places)), len(places)
                by_fraction[fraction].append(
                    topk_accuracy(predict_logits(network, test.images, subject.context), test.labels.cpu())
                )
        protocol = {
            "split": "test",
            "images": len(test.images),
            "train_images": len(images),
            "labels_used": used,
            "classes": classes,
            "trained": "backbone and linear classifier, end to end, float32; the last epoch counts",
            "optimizer": "SGD, momentum 0.9 (Nesterov), cosine to 0",
            **own.model_dump(mode="json", exclude={"fractions", "seeds", "epochs"}),
            "lr_backbone_chosen_on": "a fifth of the fraction's labels, then trained on all of them; "
            "the first, where no class has two images"
            if len(own.lr_backbones) > 1
            else "nothing: it was given",
            "lr_backbone_chosen": chosen,
            "epochs": epochs,
            "trainings": own.trainings(),
        }
        return Evaluation(aggregate_seeds(by_fraction), protocol)

    def _choose(self, subject: Subject, images: ImageStore, labels: Tensor, classes: int, seed: int) -> float:
        rates = self.options.lr_backbones
        kept, out = stratified(labels, HELD_OUT, seed)
        if len(rates) == 1 or not len(out):
            return rates[0]
        right: dict[float, float] = {}
        for rate in rates:
            network = self._train(subject, Subset(images, kept), labels[kept], classes, rate, seed)
            right[rate] = topk_accuracy(predict_logits(network, Subset(images, out), subject.context), labels[out])[
                "top1"
            ]
        return max(rates, key=lambda rate: right[rate])

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
