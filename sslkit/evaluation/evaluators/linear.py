"""Evaluator: a linear probe, the best linear classifier of frozen features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from sslkit.contracts.evaluator import Evaluation, Evaluator, Features, Subject
from sslkit.data.label_subsets import folds, nested_fractions
from sslkit.evaluation.label_fractions import LabelFractionOptions, aggregate_seeds, topk_accuracy
from sslkit.evaluation.labels import count_classes, join_features, require_labels
from sslkit.evaluation.logistic_regression import StandardScaler, fit_regularisation_path

DEFAULT_PENALTY = 1e-2
"""What is used where there are too few labels to choose by."""


class Linear(Evaluator):
    """Multinomial logistic regression on the frozen backbone's features of unaugmented images.

    Solved to its minimum (see ``fit_regularisation_path``) for every penalty of the sweep.  With all
    labels the penalty is chosen on the validation split, and the classifier then fitted on train and validation
    together.  With a fraction of the labels it is chosen by cross-validation among these labels alone.  Test images
    are looked at once for each figure.
    """

    api = 1

    class Options(LabelFractionOptions):
        penalties: tuple[Annotated[float, Field(gt=0)], ...] = Field((1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0), min_length=1)
        """L2 penalties to choose from; scikit-learn's C is 1 / (penalty * images)."""
        folds: int = Field(5, ge=2)
        """Parts of the cross-validation, at most; as many as the smallest class has images, if these are fewer."""

    options: Options

    def evaluate(self, subject: Subject) -> Evaluation:
        """``top1`` and, of more than five classes, ``top5`` of the test images, by fraction.

        Raises:
            DataError: train or test images have no labels.
        """
        train, validation, test = (subject.features(name) for name in ("train", "validation", "test"))
        classes = count_classes(subject, train, test)
        everything = join_features(train, validation)
        scaling = StandardScaler.fit(everything.features)
        known = _scaled(everything, scaling)
        test = _scaled(test, scaling)
        chosen: dict[str, list[float]] = {}
        chosen_on: dict[str, str] = {}
        used: dict[str, int] = {}
        by_fraction: dict[float, list[dict[str, float]]] = {}
        for fraction in self.options.fractions:
            by_fraction[fraction], label = [], f"{fraction:g}"
            for seed in self.options.of(fraction, subject.seed):
                if fraction < 1:
                    places = nested_fractions(require_labels(known, "train"), [fraction], seed)[fraction]
                    part = Features(known.features[places], require_labels(known, "train")[places])
                    penalty, chosen_on[label] = self._cross_validated(part, classes, seed)
                else:
                    part = known
                    penalty, chosen_on[label] = self._validated(
                        _scaled(train, scaling), _scaled(validation, scaling), classes
                    )
                # Of one fraction, every draw has as many labels of each class, and so as many folds.
                used[label] = len(part.features)
                chosen.setdefault(label, []).append(penalty)
                by_fraction[fraction].append(_score(part, test, classes, penalty))
        metrics = aggregate_seeds(by_fraction)
        protocol: dict[str, Any] = {
            "split": "test",
            "images": len(test.features),
            "train_images": len(known.features),
            "classes": classes,
            "probe": "logistic regression (L-BFGS) on frozen features, unaugmented, scaled to mean 0 and std 1",
            "penalties": list(self.options.penalties),
            "labels_used": used,
            "penalty_chosen_on": chosen_on,
            "penalty_chosen": chosen,
            "trainings": self.options.trainings(),
        }
        return Evaluation(metrics, protocol)

    def _validated(self, train: Features, validation: Features, classes: int) -> tuple[float, str]:
        if not len(validation.features):
            return self._default(), "nothing: no class has an image to validate by"
        right = _accuracies(train, validation, classes, self.options.penalties)
        best = max(right, key=lambda penalty: (right[penalty], penalty))
        return best, "validation, then fitted on train and validation"

    def _cross_validated(self, part: Features, classes: int, seed: int) -> tuple[float, str]:
        labels = require_labels(part, "train")
        total = dict.fromkeys(self.options.penalties, 0.0)
        held_out = folds(labels, self.options.folds, seed)
        for out in held_out:
            kept = torch.ones(len(labels), dtype=torch.bool)
            kept[out] = False
            right = _accuracies(_taken(part, kept), _taken(part, out), classes, self.options.penalties)
            for penalty, accuracy in right.items():
                total[penalty] += accuracy * len(out)
        if not held_out:
            return self._default(), "nothing: a class has a single label"
        return max(total, key=lambda penalty: (total[penalty], penalty)), f"cross-validation, {len(held_out)} folds"

    def _default(self) -> float:
        return min(self.options.penalties, key=lambda penalty: abs(penalty - DEFAULT_PENALTY))


def _taken(part: Features, places: Tensor) -> Features:
    return Features(part.features[places], require_labels(part, "train")[places])


def _scaled(part: Features, scaling: StandardScaler) -> Features:
    return Features(scaling(part.features), part.labels)


def _accuracies(train: Features, other: Features, classes: int, penalties: Sequence[float]) -> dict[float, float]:
    fitted = fit_regularisation_path(train.features, require_labels(train, "train"), classes, penalties)
    labels = require_labels(other, "validation")
    return {
        penalty: float((classifier.logits(other.features).argmax(1) == labels).double().mean())
        for penalty, classifier in fitted.items()
    }


def _score(train: Features, test: Features, classes: int, penalty: float) -> dict[str, float]:
    classifier = fit_regularisation_path(train.features, require_labels(train, "train"), classes, [penalty])[penalty]
    return topk_accuracy(classifier.logits(test.features), require_labels(test, "test"))
