"""The kNN evaluator."""

from __future__ import annotations

from dataclasses import replace

import pytest
from evaluation_subjects import FeatureSubject

from sslkit.contracts.evaluator import Features
from sslkit.errors import DataError
from sslkit.evaluation.evaluators.knn import Knn


def knn(**options: object) -> Knn:
    return Knn(Knn.Options.model_validate(options))


def test_the_number_of_neighbours_is_chosen_on_validation() -> None:
    subject = FeatureSubject()
    result = knn(neighbours=(1, 20, 10_000)).evaluate(subject)
    assert subject.requests == {"train": 1, "validation": 1, "test": 1}
    assert result.protocol["neighbours"] == [1, 20]
    # Overlapping classes: many neighbours are better than one.
    assert result.protocol["neighbours_chosen"] == 20
    assert result.metrics["top1"] > 0.75
    assert result.metrics["top5"] > result.metrics["top1"]
    assert result.protocol["bank_images"] == 350


def test_the_smallest_number_with_equal_accuracy_is_chosen() -> None:
    result = knn(neighbours=(10, 1, 5)).evaluate(FeatureSubject(noise=0.0))
    assert result.protocol["neighbours_chosen"] == 1


def test_one_neighbour_votes_for_one_class() -> None:
    metrics = knn(neighbours=(1,)).evaluate(FeatureSubject()).metrics
    assert metrics["top5"] == metrics["top1"]


def test_without_validation_images_the_smallest_number_is_used_and_the_protocol_says_so() -> None:
    subject = FeatureSubject()
    validation = subject.parts["validation"]
    assert validation.labels is not None
    subject.parts["validation"] = Features(validation.features[:0], validation.labels[:0])
    protocol = knn(neighbours=(20, 5)).evaluate(subject).protocol
    assert protocol["neighbours_chosen"] == 5
    assert protocol["neighbours_chosen_on"] == "nothing: no class has an image for validation"


@pytest.mark.parametrize("split", ["train", "test"])
def test_labels_are_required(split: str) -> None:
    subject = FeatureSubject()
    subject.parts[split] = replace(subject.parts[split], labels=None)
    with pytest.raises(DataError, match=f"needs labels, but the {split} images have none"):
        knn().evaluate(subject)
