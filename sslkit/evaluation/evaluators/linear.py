"""Evaluator: linear probe by logistic regression on frozen features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from sslkit.contracts.evaluator import Evaluation, Evaluator, Features, Subject
from sslkit.data.label_subsets import nested_subsets, stratified_folds
from sslkit.evaluation.accuracy import topk_accuracy
from sslkit.evaluation.label_fractions import LabelFractionOptions, aggregate_seeds, same_labels
from sslkit.evaluation.labels import count_classes, join_features, require_labels
from sslkit.evaluation.logistic_regression import StandardScaler, fit_regularisation_path

DEFAULT_PENALTY = 1e-2
"""L2 penalty if there are too few labels to choose a penalty; the nearest value of the option ``penalties`` is used."""


class Linear(Evaluator):
    """Evaluator that fits multinomial logistic regression to the frozen features of unaugmented images.

    Logistic regression is fitted until convergence for each penalty; see ``fit_regularisation_path``. With all labels,
    the penalty is chosen on the validation split, and the classifier is then fitted on training and validation images.
    With a fraction of the labels, the penalty is chosen by cross-validation on these labels only. The test images are
    evaluated once for each fraction and seed.
    """

    api = 2

    class Options(LabelFractionOptions):
        penalties: tuple[Annotated[float, Field(gt=0)], ...] = Field((1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0), min_length=1)
        """L2 penalties to choose from; scikit-learn's C equals 1 / (penalty * number of images)."""
        folds: int = Field(5, ge=2)
        """Largest number of cross-validation folds; smaller if the smallest class has fewer images."""

    options: Options

    @classmethod
    def check_options(cls, folder: Path) -> Mapping[str, Any]:
        return {}

    def evaluate(self, subject: Subject) -> Evaluation:
        """Return the test accuracy for each fraction of the labels: ``top1`` and, with over five classes, ``top5``.

        Raises:
            DataError: training or test images have no labels.
        """
        train, validation, test = (subject.features(name) for name in ("train", "validation", "test"))
        labelled = join_features(train, validation)
        classes = count_classes(subject.class_names, require_labels(labelled, "train"), require_labels(test, "test"))
        scaler = StandardScaler.fit(labelled.features)
        labelled, test = _scaled(labelled, scaler), _scaled(test, scaler)
        chosen: dict[str, list[float]] = {}
        chosen_on: dict[str, str] = {}
        labels_used: dict[str, int] = {}
        by_fraction: dict[float, list[dict[str, float]]] = {}
        for fraction in self.options.fractions:
            by_fraction[fraction], key = [], f"{fraction:g}"
            for seed in self.options.seeds_of(fraction, subject.seed):
                if fraction < 1:
                    indices = nested_subsets(require_labels(labelled, "train"), [fraction], seed)[fraction]
                    subset = _select(labelled, indices)
                    penalty, chosen_on[key] = self._cross_validate(subset, classes, seed)
                else:
                    subset = labelled
                    penalty, chosen_on[key] = self._validate(
                        _scaled(train, scaler), _scaled(validation, scaler), classes
                    )
                # All subsets of a fraction have the same number of images per class, and the same number of folds.
                labels_used[key] = len(subset.features)
                chosen.setdefault(key, []).append(penalty)
                by_fraction[fraction].append(_score(subset, test, classes, penalty))
        protocol: dict[str, Any] = {
            "split": "test",
            "images": len(test.features),
            "train_images": len(labelled.features),
            "classes": classes,
            "probe": "logistic regression (L-BFGS) on frozen features, unaugmented, scaled to mean 0 and std 1",
            "penalties": list(self.options.penalties),
            "labels_used": labels_used,
            **same_labels(labels_used),
            "penalty_chosen_on": chosen_on,
            "penalty_chosen": chosen,
            "trainings": self.options.trainings(),
        }
        return Evaluation(aggregate_seeds(by_fraction), protocol)

    def _validate(self, train: Features, validation: Features, classes: int) -> tuple[float, str]:
        """Return the largest penalty with the best validation accuracy, and a sentence about the choice."""
        if not len(validation.features):
            return self._default(), "nothing: no class has an image for validation"
        accuracy = _accuracies(train, validation, classes, self.options.penalties)
        best = max(accuracy, key=lambda penalty: (accuracy[penalty], penalty))
        return best, "validation, then fitted on train and validation"

    def _cross_validate(self, subset: Features, classes: int, seed: int) -> tuple[float, str]:
        """Return the penalty with the best accuracy over all folds, and a sentence about the choice."""
        labels = require_labels(subset, "train")
        correct = dict.fromkeys(self.options.penalties, 0.0)
        held_out = stratified_folds(labels, self.options.folds, seed)
        for fold in held_out:
            mask = torch.ones(len(labels), dtype=torch.bool)
            mask[fold] = False
            accuracies = _accuracies(_select(subset, mask), _select(subset, fold), classes, self.options.penalties)
            for penalty, accuracy in accuracies.items():
                correct[penalty] += accuracy * len(fold)
        if not held_out:
            return self._default(), "nothing: a class has a single label"
        return max(correct, key=lambda penalty: (correct[penalty], penalty)), f"cross-validation, {len(held_out)} folds"

    def _default(self) -> float:
        return min(self.options.penalties, key=lambda penalty: abs(penalty - DEFAULT_PENALTY))


def _select(part: Features, index: Tensor) -> Features:
    return Features(part.features[index], require_labels(part, "train")[index])


def _scaled(part: Features, scaler: StandardScaler) -> Features:
    return Features(scaler(part.features), part.labels)


def _accuracies(train: Features, validation: Features, classes: int, penalties: Sequence[float]) -> dict[float, float]:
    path = fit_regularisation_path(train.features, require_labels(train, "train"), classes, penalties)
    labels = require_labels(validation, "validation")
    return {
        penalty: float((classifier.logits(validation.features).argmax(1) == labels).double().mean())
        for penalty, classifier in path.items()
    }


def _score(train: Features, test: Features, classes: int, penalty: float) -> dict[str, float]:
    labels = require_labels(train, "train")
    classifier = fit_regularisation_path(train.features, labels, classes, [penalty])[penalty]
    return topk_accuracy(classifier.logits(test.features), require_labels(test, "test"))
