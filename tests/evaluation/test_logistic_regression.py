"""Logistic regression, compared with scikit-learn's solution of the same problem."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy.optimize import minimize
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import cross_entropy

from sslkit.evaluation import logistic_regression
from sslkit.evaluation.logistic_regression import StandardScaler, fit_regularisation_path


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the standardised pixels and the labels of a third of the digits."""
    images, labels = load_digits(return_X_y=True)
    features = torch.from_numpy(images[::3])
    return StandardScaler.fit(features)(features), torch.from_numpy(labels[::3])


@pytest.mark.parametrize("penalty", [1.0, 1e-2, 1e-4])
def test_the_solution_is_that_of_scikit_learn(penalty: float) -> None:
    features, labels = digits()
    ours = fit_regularisation_path(features, labels, 10, [penalty])[penalty]
    theirs = LogisticRegression(C=1 / (penalty * len(labels)), tol=1e-8, max_iter=10_000).fit(features, labels)
    # Compare probabilities, because adding a constant to all biases does not change the classifier.
    expected = torch.from_numpy(theirs.decision_function(features)).softmax(1)
    torch.testing.assert_close(ours.logits(features).softmax(1), expected, atol=1e-2, rtol=0)
    agreement = (ours.logits(features).argmax(1) == expected.argmax(1)).double().mean()
    assert agreement >= 0.999


def test_more_features_than_images_give_the_same_solution() -> None:
    features, labels = digits()
    few, penalty = labels[:40], 1e-2
    theirs = LogisticRegression(C=1 / (penalty * 40), tol=1e-8, max_iter=10_000).fit(features[:40], few)
    expected = torch.from_numpy(theirs.decision_function(features)).softmax(1)
    ours = fit_regularisation_path(features[:40], few, 10, [1.0, penalty])[penalty]
    assert ours.weight.shape == (10, 64)
    torch.testing.assert_close(ours.logits(features).softmax(1), expected, atol=1e-2, rtol=0)


def test_correlated_features_need_less_than_half_of_scikit_learn_s_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = digits()
    generator = torch.Generator().manual_seed(0)
    stretched = torch.randn(64, 64, generator=generator, dtype=torch.float64).matrix_power(3)
    features = StandardScaler.fit(features @ stretched)(features @ stretched).float()
    penalty = 1e-3
    evaluations: list[int] = []

    def counted(*arguments: Any, **options: Any) -> Any:
        solution = minimize(*arguments, **options)
        evaluations.append(solution.nfev)
        return solution

    monkeypatch.setattr(logistic_regression, "minimize", counted)
    ours = fit_regularisation_path(features, labels, 10, [penalty])[penalty]
    theirs = LogisticRegression(C=1 / (penalty * len(labels)), tol=1e-8, max_iter=100_000)
    theirs.fit(features.double(), labels)
    iterations = theirs.n_iter_.item()

    def objective(logits: torch.Tensor, weight: torch.Tensor) -> float:
        return float(cross_entropy(logits.double(), labels) + penalty / 2 * weight.double().square().sum())

    least = objective(torch.from_numpy(theirs.decision_function(features)), torch.from_numpy(theirs.coef_))
    assert objective(ours.logits(features), ours.weight) == pytest.approx(least, abs=1e-5)
    assert evaluations[0] < iterations / 2, (evaluations, iterations)


def test_float32_and_a_path_of_penalties_give_the_same_classes() -> None:
    features, labels = digits()
    penalties = [1e-4, 1e-2]
    narrow = fit_regularisation_path(features.float(), labels, 10, penalties)
    for penalty in penalties:
        alone = fit_regularisation_path(features, labels, 10, [penalty])[penalty]
        assert narrow[penalty].weight.dtype == torch.float32
        same = narrow[penalty].logits(features.float()).argmax(1) == alone.logits(features).argmax(1)
        assert same.double().mean() >= 0.998


def test_the_scaler_keeps_its_statistics_and_constant_features_are_only_shifted() -> None:
    features = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    scaler = StandardScaler.fit(features)
    assert scaler(features).tolist() == [[-1.0, 0.0], [1.0, 0.0]]
    assert scaler(torch.tensor([[5.0, 6.0]])).tolist() == [[3.0, 1.0]]
