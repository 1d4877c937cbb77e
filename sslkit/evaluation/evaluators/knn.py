"""Evaluator: weighted k-nearest-neighbour classification of frozen features."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from sslkit.contracts import options
from sslkit.contracts.evaluator import Evaluation, Evaluator, Subject
from sslkit.evaluation.accuracy import topk_accuracy
from sslkit.evaluation.knn_classifier import knn_scores
from sslkit.evaluation.labels import count_classes, join_features, require_labels
from sslkit.features.extraction import device_of


class Knn(Evaluator):
    """Evaluator that classifies each test image by a vote of the training images with the most similar features.

    The similarity is the cosine, and a vote has weight ``exp(cosine / temperature)`` (Wu et al., CVPR 2018). The number
    of neighbours is chosen on the validation split, with neighbours from the training images. Then the test images are
    classified once, with neighbours from the training and validation images.
    """

    api = 2

    class Options(options.Options):
        neighbours: tuple[Annotated[int, Field(ge=1)], ...] = Field((1, 5, 10, 20, 50, 100, 200), min_length=1)
        """Numbers of neighbours to choose from; numbers above the number of training images are ignored."""
        temperature: float = Field(0.07, gt=0)
        """Temperature of the votes; a lower temperature gives more weight to the nearest neighbours."""

    options: Options

    @classmethod
    def check_options(cls, folder: Path) -> Mapping[str, Any]:
        return {}

    def evaluate(self, subject: Subject) -> Evaluation:
        """Return the test accuracy: ``top1`` and, with more than five classes, ``top5``.

        Raises:
            DataError: training or test images have no labels.
        """
        train, validation, test = (subject.features(name) for name in ("train", "validation", "test"))
        train_labels, test_labels = require_labels(train, "train"), require_labels(test, "test")
        validation_labels = require_labels(validation, "validation")
        classes = count_classes(subject.class_names, train_labels, validation_labels, test_labels)
        temperature, device = self.options.temperature, device_of(subject.backbone())
        candidates = [k for k in self.options.neighbours if k <= len(train.features)] or [1]
        accuracy = {}
        for k in candidates if len(validation_labels) else ():
            scores = knn_scores(
                train.features, train_labels, validation.features, k, temperature, classes=classes, device=device
            )
            accuracy[k] = topk_accuracy(scores, validation_labels)["top1"]
        chosen = max(accuracy, key=lambda k: (accuracy[k], -k)) if accuracy else min(candidates)
        bank = join_features(train, validation)
        bank_labels = require_labels(bank, "train")
        scores = knn_scores(
            bank.features, bank_labels, test.features, chosen, temperature, classes=classes, device=device
        )
        protocol = {
            "split": "test",
            "images": len(test.features),
            "bank": "train and validation",
            "bank_images": len(bank.features),
            "similarity": "cosine",
            "temperature": temperature,
            "neighbours": candidates,
            "neighbours_chosen_on": "validation" if accuracy else "nothing: no class has an image for validation",
            "neighbours_chosen": chosen,
        }
        # log(0) is minus infinity, which excludes classes without a vote from the top five.
        return Evaluation(topk_accuracy(scores.log(), test_labels), protocol)
