"""The linear probe: how the penalty is chosen, fractions of the labels, and no use of test labels."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from evaluation_subjects import FeatureSubject

from sslkit.contracts.evaluator import Features
from sslkit.data.label_subsets import nested_subsets
from sslkit.errors import DataError
from sslkit.evaluation.evaluators.linear import Linear

CLASSES = len(FeatureSubject.class_names)


def linear(**options: object) -> Linear:
    return Linear(Linear.Options.model_validate(options))


def test_test_images_are_requested_once_and_change_no_choice() -> None:
    evaluator = linear(fractions=(0.1, 1.0), seeds=2)
    subject = FeatureSubject()
    result = evaluator.evaluate(subject)
    assert subject.requests == {"train": 1, "validation": 1, "test": 1}
    changed = FeatureSubject()
    labels = changed.parts["test"].labels
    assert labels is not None
    changed.parts["test"] = replace(changed.parts["test"], labels=(labels + 1) % CLASSES)
    other = evaluator.evaluate(changed)
    assert other.protocol == result.protocol
    assert other.metrics["top1"] < 0.1 < 0.75 < result.metrics["top1"]


def test_a_fraction_uses_only_its_own_labels() -> None:
    evaluator = linear(fractions=(0.1,), seeds=1)
    expected = evaluator.evaluate(FeatureSubject())
    assert set(expected.metrics) == {"fractions"}
    changed = FeatureSubject()
    train, validation = changed.parts["train"], changed.parts["validation"]
    assert train.labels is not None
    assert validation.labels is not None
    labels = torch.cat([train.labels, validation.labels])
    used = nested_subsets(labels, [0.1], FeatureSubject.seed)[0.1]
    # The subset depends on all labels, so shuffle the features of the other images instead of their labels.
    unused = torch.ones(len(labels), dtype=torch.bool)
    unused[used] = False
    features = torch.cat([train.features, validation.features])
    mean, std = features.mean(0), features.std(0)
    features[unused] = features[unused].flip(0)
    changed.parts["train"] = replace(train, features=features[: len(train.features)])
    changed.parts["validation"] = replace(validation, features=features[len(train.features) :])
    torch.testing.assert_close(features.mean(0), mean)
    torch.testing.assert_close(features.std(0), std)
    result = evaluator.evaluate(changed)
    assert result.metrics == expected.metrics
    assert result.protocol == expected.protocol


def test_the_best_penalty_is_chosen_and_fitted_on_all_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int]] = []
    scored: list[tuple[int, float]] = []

    def accuracies(train: Features, other: Features, classes: int, penalties: tuple[float, ...]) -> dict[float, float]:
        sizes.append((len(train.features), len(other.features)))
        return {penalty: float(penalty == 1e-3) for penalty in penalties}

    def score(train: Features, test: Features, classes: int, penalty: float) -> dict[str, float]:
        scored.append((len(train.features), penalty))
        return {"top1": 0.0}

    monkeypatch.setattr("sslkit.evaluation.evaluators.linear._accuracies", accuracies)
    monkeypatch.setattr("sslkit.evaluation.evaluators.linear._score", score)
    result = linear(fractions=(0.1, 1.0)).evaluate(FeatureSubject())
    assert sizes == [(28, 7)] * 5 + [(280, 70)]
    assert scored == [(35, 1e-3), (350, 1e-3)]
    assert result.protocol["penalty_chosen"] == {"0.1": [1e-3], "1": [1e-3]}


def test_several_seeds_give_mean_and_deviation() -> None:
    together = linear(fractions=(0.1,), seeds=3).evaluate(FeatureSubject()).metrics["fractions"]["0.1"]
    alone = []
    for seed in range(3):
        subject = FeatureSubject()
        subject.seed = FeatureSubject.seed + seed
        alone.append(linear(fractions=(0.1,)).evaluate(subject).metrics["fractions"]["0.1"]["top1"])
    assert len(set(alone)) > 1
    assert together["top1"] == pytest.approx(sum(alone) / 3)
    assert together["top1_std"] == pytest.approx(torch.tensor(alone, dtype=torch.float64).std().item())


def test_one_image_for_each_class_gives_the_default_penalty() -> None:
    result = linear(fractions=(0.001,)).evaluate(FeatureSubject())
    assert result.protocol["penalty_chosen"] == {"0.001": [0.01]}
    assert result.protocol["penalty_chosen_on"] == {"0.001": "nothing: a class has a single label"}
    assert result.protocol["labels_used"] == {"0.001": CLASSES}


def test_fractions_with_equal_subsets_are_named() -> None:
    result = linear(fractions=(0.001, 0.002, 0.1, 0.9999, 1.0)).evaluate(FeatureSubject())
    assert result.metrics["fractions"]["0.001"] == result.metrics["fractions"]["0.002"]
    assert result.protocol["labels_used"] == {
        "0.001": CLASSES, "0.002": CLASSES, "0.1": 5 * CLASSES, "0.9999": 350, "1": 350,
    }  # fmt: skip
    assert result.protocol["same_labels_as"] == {
        "0.001": "0.002", "0.002": "0.001", "0.1": "none", "0.9999": "1", "1": "0.9999",
    }  # fmt: skip
    assert "same_labels_as" not in linear(fractions=(0.1, 1.0)).evaluate(FeatureSubject()).protocol


def test_the_protocol_has_the_numbers_of_labels_and_folds() -> None:
    protocol = linear(fractions=(0.04, 0.2, 1.0), seeds=2).evaluate(FeatureSubject()).protocol
    assert protocol["labels_used"] == {"0.04": 2 * CLASSES, "0.2": 10 * CLASSES, "1": 350}
    assert protocol["penalty_chosen_on"] == {
        "0.04": "cross-validation, 2 folds",
        "0.2": "cross-validation, 5 folds",
        "1": "validation, then fitted on train and validation",
    }


def test_without_validation_images_the_default_penalty_is_used_and_the_protocol_says_so() -> None:
    subject = FeatureSubject()
    validation = subject.parts["validation"]
    assert validation.labels is not None
    subject.parts["validation"] = Features(validation.features[:0], validation.labels[:0])
    protocol = linear().evaluate(subject).protocol
    assert protocol["penalty_chosen"] == {"1": [0.01]}
    assert protocol["penalty_chosen_on"] == {"1": "nothing: no class has an image for validation"}


def test_the_strongest_penalty_with_equal_accuracy_is_chosen() -> None:
    result = linear(penalties=(1e-4, 1e-2, 1e-3)).evaluate(FeatureSubject(noise=0.0))
    assert result.protocol["penalty_chosen"] == {"1": [1e-2]}


@pytest.mark.parametrize("split", ["train", "test"])
def test_labels_are_required(split: str) -> None:
    subject = FeatureSubject()
    subject.parts[split] = replace(subject.parts[split], labels=None)
    with pytest.raises(DataError, match=f"needs labels, but the {split} images have none"):
        linear().evaluate(subject)


def test_the_units_of_features_change_no_metric() -> None:
    """The factors are powers of two, so that scaled values are bit-identical."""
    subject = FeatureSubject()
    units = 2.0 ** (-4 * torch.arange(9))
    for name, part in subject.parts.items():
        subject.parts[name] = replace(part, features=part.features * units)
    assert linear().evaluate(subject).metrics == linear().evaluate(FeatureSubject()).metrics
