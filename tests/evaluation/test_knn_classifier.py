"""kNN equals a simple loop and scikit-learn, for any block size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sslkit.evaluation import knn_classifier
from sslkit.evaluation.knn_classifier import knn_accuracy, knn_scores


def data(train: int = 60, test: int = 25, classes: int = 4) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(classes, 8, generator=generator)
    labels = torch.randint(classes, (train + test,), generator=generator)
    features = centres[labels] + torch.randn(train + test, 8, generator=generator)
    features *= torch.rand(train + test, 1, generator=generator) * 9 + 0.1
    return features[:train], labels[:train], features[train:], labels[train:]


def plain_loop(train: Tensor, labels: Tensor, test: Tensor, k: int, temperature: float, classes: int) -> list[int]:
    predicted = []
    for x in test.double():
        nearest = sorted(
            ((float(x @ y / (x.norm() * y.norm())), int(c)) for y, c in zip(train.double(), labels, strict=True)),
            reverse=True,
        )[:k]
        votes = [0.0] * classes
        for similarity, c in nearest:
            votes[c] += math.exp(similarity / temperature)
        predicted.append(votes.index(max(votes)))
    return predicted


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (5, 0.07), (20, 0.5), (60, 0.07), (10, 10.0)])
@pytest.mark.parametrize(("block", "rows"), [(None, 60), (1, 60), (7, 60), (None, 11), (7, 1)])
def test_equals_a_plain_loop(
    k: int, temperature: float, block: int | None, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knn_classifier, "MAX_NORMALISED", 8 * rows)
    train, labels, test, _ = data()
    predicted = knn_scores(train, labels, test, k, temperature, classes=4, block=block).argmax(1)
    assert predicted.tolist() == plain_loop(train, labels, test, k, temperature, 4)


def test_equals_scikit_learn() -> None:
    from sklearn.neighbors import KNeighborsClassifier

    train, labels, test, truth = data(200, 80)
    model = KNeighborsClassifier(9, metric="cosine", weights=lambda distance: np.exp(-distance / 0.07))
    expected = model.fit(train.numpy(), labels.numpy()).predict(test.numpy())
    assert knn_scores(train, labels, test, 9, classes=4).argmax(1).tolist() == expected.tolist()
    accuracy = float((torch.from_numpy(expected) == truth).double().mean())
    assert knn_accuracy(train, labels, test, truth, 9, classes=4) == accuracy
    assert 0.5 < accuracy < 1


def test_with_a_small_temperature_only_the_nearest_neighbour_counts() -> None:
    train, labels, test, _ = data()
    cold = knn_scores(train, labels, test, 60, 1e-6, classes=4).argmax(1)
    assert torch.equal(cold, knn_scores(train, labels, test, 1, classes=4).argmax(1))


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0

    class LargestTensor(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor):
                largest = max(largest, result.numel())
            return result

    train, labels, test, _ = data(300, 500)
    monkeypatch.setattr(knn_classifier, "MAX_SIMILARITIES", 6000)
    with LargestTensor():
        knn_scores(train, labels, test, 5, classes=4)
    assert largest <= 6000


@pytest.mark.parametrize("k", [0, 61])
def test_an_impossible_k_is_refused(k: int) -> None:
    train, labels, test, _ = data()
    with pytest.raises(ValueError, match="1 to 60"):
        knn_scores(train, labels, test, k, classes=4)
