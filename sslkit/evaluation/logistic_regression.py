"""Multinomial logistic regression on features, fitted with L-BFGS until convergence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn.functional import cross_entropy

MAX_ITERATIONS = 1000
"""Largest number of iterations of the solver for one penalty."""

GRADIENT_TOLERANCE = 1e-5
"""Largest entry of the gradient of the mean loss at which the solver stops."""

LOSS_TOLERANCE = 1e-7
"""Relative decrease of the loss in an iteration below which the solver stops."""

HISTORY_SIZE = 20
"""Number of iterations from which L-BFGS approximates the curvature."""

BLOCK_SIZE = 8192
"""Number of images whose second moments are summed at a time."""


@dataclass(frozen=True)
class LinearClassifier:
    """Linear classifier of features.

    Attributes:
        weight: tensor ``[K, D]``.
        bias: tensor ``[K]``.
    """

    weight: Tensor
    bias: Tensor

    def logits(self, features: Tensor) -> Tensor:
        """Return logits ``[N, K]`` of features ``[N, D]``."""
        return features @ self.weight.T + self.bias


@dataclass(frozen=True)
class StandardScaler:
    """Function that scales each feature dimension to mean 0 and standard deviation 1.

    Attributes:
        mean: tensor ``[D]``.
        std: tensor ``[D]``; 1 for a constant dimension.
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def fit(cls, features: Tensor) -> StandardScaler:
        """Return a scaler with the mean and standard deviation of features ``[N, D]``."""
        std, mean = torch.std_mean(features, dim=0, correction=0)
        return cls(mean, torch.where(std > 0, std, 1))

    def __call__(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.std


def fit_regularisation_path(
    features: Tensor, labels: Tensor, classes: int, penalties: Sequence[float]
) -> dict[float, LinearClassifier]:
    """Minimise ``mean cross-entropy + penalty / 2 * |weight|^2`` for each penalty; biases are not penalised.

    The result is that of scikit-learn's ``LogisticRegression(C=1 / (penalty * N))``. L-BFGS solves the problems from
    the largest to the smallest penalty and starts at the previous solution. Correlated features slow L-BFGS down; the
    solver therefore uses preconditioned variables; see ``_Objective``.

    Args:
        features: float32 or float64 tensor ``[N, D]``, on any device, preferably standardised.
        labels: int64 tensor ``[N]`` with values from 0 to classes - 1.
        classes: number of classes K.
        penalties: L2 penalties, each above 0.

    Returns:
        Mapping from penalty to the fitted classifier.
    """
    basis = None
    if len(features) < features.shape[1]:
        # The solution is in the span of the features, which has at most N dimensions.
        basis, coordinates = torch.linalg.qr(features.T)
        features = coordinates.T.contiguous()
    classifiers: dict[float, LinearClassifier] = {}
    weights = torch.zeros(classes, features.shape[1] + 1, dtype=torch.float64)
    for penalty in sorted(penalties, reverse=True):
        objective = _Objective(features, labels, penalty, start=weights)
        solution = minimize(
            objective,
            objective.variables(weights),
            jac=True,
            method="L-BFGS-B",
            options={
                "maxiter": MAX_ITERATIONS,
                "maxcor": HISTORY_SIZE,
                "gtol": GRADIENT_TOLERANCE,
                "ftol": LOSS_TOLERANCE,
            },
        )
        weights = objective.weights(solution.x)
        solved = _classifier(weights, features)
        classifiers[penalty] = solved if basis is None else LinearClassifier(solved.weight @ basis.T, solved.bias)
    return classifiers


def _classifier(weights: Tensor, features: Tensor) -> LinearClassifier:
    both = weights.to(features)
    return LinearClassifier(both[:, :-1].contiguous(), both[:, -1])


class _Objective:
    """Objective of the logistic regression: returns loss and gradient to scipy, computed on the device of the features.

    Scipy optimises the elements of ``weights @ root`` instead of ``weights``, because the curvature of the loss is then
    similar in all directions. ``root`` is the Cholesky factor of a ``[D + 1, D + 1]`` matrix that approximates each
    class's Hessian at ``start``. The matrix is the second moment of the features, extended by a constant 1 for the
    bias, plus the penalty. Images whose class is uncertain have more weight in the second moment.

    Args:
        features: tensor ``[N, D]``.
        labels: int64 tensor ``[N]``.
        penalty: the L2 penalty.
        start: float64 tensor ``[K, D + 1]``, weights and biases at which the solver starts.
    """

    def __init__(self, features: Tensor, labels: Tensor, penalty: float, start: Tensor) -> None:
        self.features, self.labels, self.penalty, self.classes = features, labels, penalty, len(start)
        width = features.shape[1]
        curvature = torch.zeros(width + 1, width + 1, dtype=torch.float64)
        classifier = _classifier(start, features)
        for part in features.split(BLOCK_SIZE):
            probabilities = classifier.logits(part).softmax(1)
            uncertainty = (1 - probabilities.square().sum(1, keepdim=True)) / max(self.classes - 1, 1)
            with_one = torch.cat([part, torch.ones_like(uncertainty)], dim=1)
            curvature += ((uncertainty * with_one).T @ with_one).cpu().double() / len(features)
        # Large enough that rounding errors cannot make the matrix indefinite.
        rounding = 8 * torch.finfo(features.dtype).eps * float(curvature.diagonal().max())
        curvature.diagonal().add_(max(penalty, rounding))
        self.root = torch.linalg.cholesky(curvature)

    def variables(self, weights: Tensor) -> numpy.ndarray:
        """Convert weights and biases ``[K, D + 1]`` to the vector that scipy optimises."""
        flat: numpy.ndarray = (weights @ self.root).numpy().ravel()
        return flat

    def weights(self, variables: numpy.ndarray) -> Tensor:
        """Convert the vector that scipy optimises to weights and biases ``[K, D + 1]``."""
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
