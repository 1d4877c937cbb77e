"""Evaluator: weighted k-nearest-neighbour classification of frozen features."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sslkit.contracts import options
from sslkit.contracts.evaluator import Evaluation, Evaluator, Subject
from sslkit.evaluation.knn_classifier import knn_scores
from sslkit.evaluation.label_fractions import topk_accuracy
from sslkit.evaluation.labels import count_classes, join_features, require_labels


class Knn(Evaluator):
    """Each test image takes the class that its nearest training images, by cosine of features, vote for.

    The number of neighbours is chosen on the validation split, with train as the bank; then train and validation
    together vote on the test images, once.  Votes weigh ``exp(cosine / temperature)`` (Wu et al., CVPR 2018).
    """

    api = 1

    class Options(options.Options):
        neighbours: tuple[Annotated[int, Field(ge=1)], ...] = Field((1, 5, 10, 20, 50, 100, 200), min_length=1)
        """Numbers of neighbours to choose from; those above the number of training images are left out."""
        temperature: float = Field(0.07, gt=0)
        """Temperature of the votes: the smaller, the more the very nearest count."""

    options: Options

    def evaluate(self, subject: Subject) -> Evaluation:
        """``top1`` and, of more than five classes, ``top5`` of the test images.

        Raises:
            DataError: train or test images have no labels.
        """
        train, validation, test = (subject.features(name) for name in ("train", "validation", "test"))
        classes = count_classes(subject, train, test)
        temperature = self.options.temperature
        possible = [k for k in self.options.neighbours if k <= len(train.features)] or [1]
        held_out = require_labels(validation, "validation")
        right = {}
        for k in possible if len(held_out) else ():
            scores = knn_scores(
                train.features, require_labels(train, "train"), validation.features, k, temperature, classes=classes
            )
            right[k] = topk_accuracy(scores, held_out)["top1"]
        chosen = max(right, key=lambda k: (right[k], -k)) if right else min(possible)
        bank = join_features(train, validation)
        scores = knn_scores(
            bank.features, require_labels(bank, "train"), test.features, chosen, temperature, classes=classes
        )
        protocol = {
            "split": "test",
            "images": len(test.features),
            "bank": "train and validation",
            "bank_images": len(bank.features),
            "similarity": "cosine",
            "temperature": temperature,
            "neighbours": possible,
            "neighbours_chosen_on": "validation" if right else "nothing: no class has an image to validate by",
            "neighbours_chosen": chosen,
        }
        # Without a vote a class is none of the likeliest five, even where fewer than five have one.
        return Evaluation(topk_accuracy(scores.log(), require_labels(test, "test")), protocol)
