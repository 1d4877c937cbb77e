"""The linear probe and nearest neighbours, on a made-up subject whose labels can be tampered with."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch

from sslkit.contracts.evaluator import Evaluator, Features
from sslkit.data.label_subsets import nested_fractions
from sslkit.errors import DataError, InputError
from sslkit.evaluation.evaluate import build_evaluators
from sslkit.evaluation.evaluators.knn import Knn
from sslkit.evaluation.evaluators.linear import Linear
from sslkit.evaluation.label_fractions import aggregate_seeds, topk_accuracy

CLASSES = 7


class Fake:
    """Seven overlapping classes of features."""

    seed = 5
    class_names = tuple("abcdefg")

    def __init__(self, noise: float = 0.35) -> None:
        generator = torch.Generator().manual_seed(0)
        self.asked: Counter[str] = Counter()
        self.parts: dict[str, Features] = {}
        for name, count in (("train", 280), ("validation", 70), ("test", 140)):
            labels = torch.arange(count) % CLASSES
            features = torch.eye(CLASSES, 9)[labels] + noise * torch.randn(count, 9, generator=generator)
            self.parts[name] = Features(features, labels)

    def features(self, split: str) -> Features:
        self.asked[split] += 1
        return self.parts[split]


def linear(**options: object) -> Linear:
    return Linear(Linear.Options.model_validate(options))


def test_test_images_are_asked_for_once_and_change_no_choice() -> None:
    evaluator = linear(fractions=(0.1, 1.0), seeds=2)
    subject = Fake()
    result = evaluator.evaluate(subject)
    assert subject.asked == {"train": 1, "validation": 1, "test": 1}
    tampered = Fake()
    labels = tampered.parts["test"].labels
    assert labels is not None
    tampered.parts["test"] = replace(tampered.parts["test"], labels=(labels + 1) % CLASSES)
    other = evaluator.evaluate(tampered)
    assert other.protocol == result.protocol
    assert other.metrics["top1"] < 0.1 < 0.75 < result.metrics["top1"]


def test_a_fraction_uses_the_labels_of_that_fraction_alone() -> None:
    evaluator = linear(fractions=(0.1,), seeds=1)
    expected = evaluator.evaluate(Fake())
    assert set(expected.metrics) == {"fractions"}
    tampered = Fake()
    train, validation = tampered.parts["train"], tampered.parts["validation"]
    assert train.labels is not None
    assert validation.labels is not None
    labels = torch.cat([train.labels, validation.labels])
    used = nested_fractions(labels, [0.1], Fake.seed)[0.1]
    # Which images form the fraction depends on the classes; what is learned must not, beyond it.  So the others keep
    # their labels for the draw, and get useless features instead.
    unused = torch.ones(len(labels), dtype=torch.bool)
    unused[used] = False
    features = torch.cat([train.features, validation.features])
    mean, std = features.mean(0), features.std(0)
    features[unused] = features[unused].flip(0)
    tampered.parts["train"] = replace(train, features=features[: len(train.features)])
    tampered.parts["validation"] = replace(validation, features=features[len(train.features) :])
    torch.testing.assert_close(features.mean(0), mean)
    torch.testing.assert_close(features.std(0), std)
    found = evaluator.evaluate(tampered)
    assert found.metrics == expected.metrics
    assert found.protocol == expected.protocol


def test_the_best_penalty_is_taken_and_fitted_on_all_labels_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    cuts: list[tuple[int, int]] = []
    scored: list[tuple[int, float]] = []

    def accuracies(train: Features, other: Features, classes: int, penalties: tuple[float, ...]) -> dict[float, float]:
        cuts.append((len(train.features), len(other.features)))
        return {penalty: float(penalty == 1e-3) for penalty in penalties}

    def score(train: Features, test: Features, classes: int, penalty: float) -> dict[str, float]:
        scored.append((len(train.features), penalty))
        return {"top1": 0.0}

    monkeypatch.setattr("sslkit.evaluation.evaluators.linear._accuracies", accuracies)
    monkeypatch.setattr("sslkit.evaluation.evaluators.linear._score", score)
    result = linear(fractions=(0.1, 1.0)).evaluate(Fake())
    assert cuts == [(28, 7)] * 5 + [(280, 70)]
    assert scored == [(35, 1e-3), (350, 1e-3)]
    assert result.protocol["penalty_chosen"] == {"0.1": [1e-3], "1": [1e-3]}


def test_several_seeds_give_mean_and_deviation() -> None:
    together = linear(fractions=(0.1,), seeds=3).evaluate(Fake()).metrics["fractions"]["0.1"]
    alone = []
    for seed in range(3):
        subject = Fake()
        subject.seed = Fake.seed + seed
        alone.append(linear(fractions=(0.1,)).evaluate(subject).metrics["fractions"]["0.1"]["top1"])
    assert len(set(alone)) > 1
    assert together["top1"] == pytest.approx(sum(alone) / 3)
    assert together["top1_std"] == pytest.approx(torch.tensor(alone, dtype=torch.float64).std().item())


def test_one_image_of_a_class_leaves_nothing_to_choose_by() -> None:
    result = linear(fractions=(0.001,)).evaluate(Fake())
    assert result.protocol["penalty_chosen"] == {"0.001": [0.01]}
    assert result.protocol["penalty_chosen_on"] == {"0.001": "nothing: a class has a single label"}
    assert result.protocol["labels_used"] == {"0.001": CLASSES}


def test_the_protocol_tells_how_many_labels_and_folds_there_were() -> None:
    protocol = linear(fractions=(0.04, 0.2, 1.0), seeds=2).evaluate(Fake()).protocol
    assert protocol["labels_used"] == {"0.04": 2 * CLASSES, "0.2": 10 * CLASSES, "1": 350}
    assert protocol["penalty_chosen_on"] == {
        "0.04": "cross-validation, 2 folds",
        "0.2": "cross-validation, 5 folds",
        "1": "validation, then fitted on train and validation",
    }


def test_without_an_image_to_validate_by_nothing_is_chosen_and_that_is_said() -> None:
    subject = Fake()
    validation = subject.parts["validation"]
    assert validation.labels is not None
    subject.parts["validation"] = Features(validation.features[:0], validation.labels[:0])
    probe = linear().evaluate(subject).protocol
    assert probe["penalty_chosen"] == {"1": [0.01]}
    assert probe["penalty_chosen_on"] == {"1": "nothing: no class has an image to validate by"}
    neighbours = Knn(Knn.Options.model_validate({"neighbours": (20, 5)})).evaluate(subject).protocol
    assert neighbours["neighbours_chosen"] == 5
    assert neighbours["neighbours_chosen_on"] == "nothing: no class has an image to validate by"


def test_of_equal_accuracies_the_strongest_penalty_and_the_fewest_neighbours_are_taken() -> None:
    easy = Fake(noise=0.0)
    assert linear(penalties=(1e-4, 1e-2, 1e-3)).evaluate(easy).protocol["penalty_chosen"] == {"1": [1e-2]}
    found = Knn(Knn.Options.model_validate({"neighbours": (10, 1, 5)})).evaluate(easy)
    assert found.protocol["neighbours_chosen"] == 1


def test_top5_only_of_more_than_five_classes() -> None:
    logits = torch.tensor([[6.0, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6]])
    assert topk_accuracy(logits, torch.tensor([0, 0])) == {"top1": 0.5, "top5": 0.5}
    assert topk_accuracy(logits[:, :5], torch.tensor([0, 0])) == {"top1": 0.5}


def test_what_nobody_votes_for_is_none_of_the_likeliest() -> None:
    votes = torch.tensor([[2.0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 2]])
    for label, right in ((0, 0.5), (1, 0.5), (2, 0.0), (3, 0.0), (4, 0.5)):
        assert topk_accuracy(votes.log(), torch.tensor([label, label]))["top5"] == right
    evaluator = Knn(Knn.Options.model_validate({"neighbours": (1,)}))
    metrics = evaluator.evaluate(Fake()).metrics
    assert metrics["top5"] == metrics["top1"], "one neighbour votes for one class"


def test_over_seeds_keeps_all_labels_apart() -> None:
    draws = {0.5: [{"top1": 0.25}, {"top1": 0.75}], 1.0: [{"top1": 0.875}]}
    deviation = pytest.approx(0.5 / 2**0.5)
    assert aggregate_seeds(draws) == {"top1": 0.875, "fractions": {"0.5": {"top1": 0.5, "top1_std": deviation}}}


def test_neighbours_are_chosen_on_validation() -> None:
    evaluator = Knn(Knn.Options.model_validate({"neighbours": (1, 20, 10_000)}))
    subject = Fake()
    result = evaluator.evaluate(subject)
    assert subject.asked == {"train": 1, "validation": 1, "test": 1}
    assert result.protocol["neighbours"] == [1, 20]
    # Overlapping classes: many neighbours are better than one.
    assert result.protocol["neighbours_chosen"] == 20
    assert result.metrics["top1"] > 0.75
    assert result.metrics["top5"] > result.metrics["top1"]
    assert result.protocol["bank_images"] == 350


@pytest.mark.parametrize("evaluator", [linear(), Knn(Knn.Options())], ids=["linear", "knn"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_labels_are_required(evaluator: Evaluator, split: str) -> None:
    subject = Fake()
    subject.parts[split] = replace(subject.parts[split], labels=None)
    with pytest.raises(DataError, match=f"needs labels, but the {split} images have none"):
        evaluator.evaluate(subject)


def test_an_evaluator_that_is_asked_for_twice_is_one_and_two_of_one_name_are_refused(install) -> None:
    (only,) = build_evaluators({"sslkit:linear": {"fractions": [0.5]}, "linear": {"seeds": 2}}).items()
    assert only[0] == "linear"
    assert only[1].options == Linear.Options(fractions=(0.5,), seeds=2)
    install("other", "[sslkit.evaluators]\nlinear = other:Linear\n", other="")
    with pytest.raises(InputError, match="two evaluators are called 'linear'"):
        build_evaluators({"sslkit:linear": {}, "other:linear": {}})


def test_the_units_of_features_change_no_figure() -> None:
    """Powers of two, so that scaled values are the same to the bit."""
    subject = Fake()
    units = 2.0 ** (-4 * torch.arange(9))
    for name, part in subject.parts.items():
        subject.parts[name] = replace(part, features=part.features * units)
    assert linear().evaluate(subject).metrics == linear().evaluate(Fake()).metrics
