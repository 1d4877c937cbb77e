"""Multinomial logistic regression on features: the linear probe's problem, solved rather than trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn.functional import cross_entropy

ITERATIONS = 1000
"""Most iterations of the solver for one penalty."""

GRADIENT = 1e-5
"""The solver stops where no entry of the gradient of the mean loss is larger."""

DECREASE = 1e-7
"""The solver stops where a step lowers the loss by less."""

MEMORY = 20
"""Steps that the solver remembers."""

BLOCK = 8192
"""Images whose second moments are summed at a time."""


@dataclass(frozen=True)
class LinearClassifier:
    """A linear classifier of features.

    Attributes:
        weight: ``[K, D]``.
        bias: ``[K]``.
    """

    weight: Tensor
    bias: Tensor

    def logits(self, features: Tensor) -> Tensor:
        """``[N, K]`` of features ``[N, D]``."""
        return features @ self.weight.T + self.bias


@dataclass(frozen=True)
class StandardScaler:
    """Shifts and scales features to mean 0 and standard deviation 1 on those it was measured on.

    Attributes:
        mean: ``[D]``.
        std: ``[D]``; 1 where a feature is constant.
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def fit(cls, features: Tensor) -> StandardScaler:
        """Measured on features ``[N, D]``."""
        std, mean = torch.std_mean(features, dim=0, correction=0)
        return cls(mean, torch.where(std > 0, std, 1))

    def __call__(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.std


def fit_regularisation_path(
    features: Tensor, labels: Tensor, classes: int, penalties: Sequence[float]
) -> dict[float, LinearClassifier]:
    """The minimum of ``mean cross-entropy + penalty / 2 * |weight|^2`` for each penalty; biases are free.

    The same problem as scikit-learn's ``LogisticRegression(C=1 / (penalty * N))``.  Solved by L-BFGS from the
    strongest penalty to the weakest, each from the one before, in variables in which the loss is about as steep in
    all directions: features of real backbones are correlated, and in their own variables L-BFGS crawls.

    Args:
        features: ``[N, D]`` float32 or float64, on any device; best scaled.
        labels: ``[N]`` int64, in 0..classes-1.
        classes: number of classes, K.
        penalties: each above 0.
    """
    basis = None
    if len(features) < features.shape[1]:
        # The minimum lies in the span of the features, which has no more dimensions than there are images.
        basis, coordinates = torch.linalg.qr(features.T)
        features = coordinates.T.contiguous()
    found: dict[float, LinearClassifier] = {}
    weights = torch.zeros(classes, features.shape[1] + 1, dtype=torch.float64)
    for penalty in sorted(penalties, reverse=True):
        problem = _Problem(features, labels, penalty, begin=weights)
        solved = minimize(
            problem,
            problem.variables(weights),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": ITERATIONS, "maxcor": MEMORY, "gtol": GRADIENT, "ftol": DECREASE},
        )
        weights = problem.weights(solved.x)
        classifier = _classifier(weights, features)
        found[penalty] = (
            LinearClassifier(classifier.weight @ basis.T, classifier.bias) if basis is not None else classifier
        )
    return found


def _classifier(weights: Tensor, features: Tensor) -> LinearClassifier:
    both = weights.to(features)
    return LinearClassifier(both[:, :-1].contiguous(), both[:, -1])


class _Problem:
    """The objective and its gradient for scipy, computed where the features are.

    Scipy's variables are ``weights @ root``; ``root @ root.T`` is about the matrix of second derivatives where the
    solver begins, the same for each class: second moments of the features, each image counting as much as its class is
    in doubt.

    Args:
        features: ``[N, D]``.
        labels: ``[N]``.
        penalty: the L2 penalty.
        begin: weights and biases ``[K, D + 1]``, float64, where the solver begins.
    """

    def __init__(self, features: Tensor, labels: Tensor, penalty: float, begin: Tensor) -> None:
        self.features, self.labels, self.penalty, self.classes = features, labels, penalty, len(begin)
        width = features.shape[1]
        curvature = torch.zeros(width + 1, width + 1, dtype=torch.float64)
        classifier = _classifier(begin, features)
        for part in features.split(BLOCK):
            probabilities = classifier.logits(part).softmax(1)
            doubt = (1 - probabilities.square().sum(1, keepdim=True)) / max(self.classes - 1, 1)
            with_one = torch.cat([part, torch.ones_like(doubt)], dim=1)
            curvature += ((doubt * with_one).T @ with_one).cpu().double() / len(features)
        # Rounding in the features' precision must not make it indefinite.
        rounding = 8 * torch.finfo(features.dtype).eps * float(curvature.diagonal().max())
        curvature.diagonal().add_(max(penalty, rounding))
        self.root = torch.linalg.cholesky(curvature)

    def variables(self, weights: Tensor) -> numpy.ndarray:
        """Scipy's, of weights and biases ``[K, D + 1]``."""
        flat: numpy.ndarray = (weights @ self.root).numpy().ravel()
        return flat

    def weights(self, variables: numpy.ndarray) -> Tensor:
        """Weights and biases ``[K, D + 1]`` of scipy's variables."""
        rows = torch.from_numpy(variables).view(self.classes, -1)
        weights: Tensor = torch.linalg.solve_triangular(self.root, rows, upper=False, left=False)
        return weights

    def __call__(self, variables: numpy.ndarray) -> tuple[float, numpy.ndarray]:
        weights = self.weights(variables)
        logits = _classifier(weights, self.features).logits(self.features)
        value = float(cross_entropy(logits, self.labels)) + self.penalty / 2 * float(weights[:, :-1].square().sum())
        logits = logits.softmax(1)
        logits[torch.arange(len(logits), device=logits.device), self.labels] -= 1
        logits /= len(logits)
        gradient = torch.cat([logits.T @ self.features, logits.sum(0)[:, None]], dim=1).cpu().double()
        gradient[:, :-1] += self.penalty * weights[:, :-1]
        return value, torch.linalg.solve_triangular(self.root.T, gradient, upper=True, left=False).numpy().ravel()
