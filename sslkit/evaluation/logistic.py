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


@dataclass(frozen=True)
class Classifier:
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
class Scaling:
    """Shifts and scales features to mean 0 and standard deviation 1 on those it was measured on.

    Attributes:
        mean: ``[D]``.
        std: ``[D]``; 1 where a feature is constant.
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Scaling:
        """Measured on features ``[N, D]``."""
        std, mean = torch.std_mean(features, dim=0, correction=0)
        return cls(mean, torch.where(std > 0, std, 1))

    def __call__(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.std


def fit_path(features: Tensor, labels: Tensor, classes: int, penalties: Sequence[float]) -> dict[float, Classifier]:
    """The minimum of ``mean cross-entropy + penalty / 2 * |weight|^2`` for each penalty; biases are free.

    The same problem as scikit-learn's ``LogisticRegression(C=1 / (penalty * N))``.  Solved by L-BFGS from the
    strongest penalty to the weakest, each from the one before, so that a whole sweep costs little more than its last.

    Args:
        features: ``[N, D]`` float32 or float64, on any device; best scaled.
        labels: ``[N]`` int64, in 0..classes-1.
        classes: number of classes, K.
        penalties: each above 0.
    """
    width = features.shape[1]
    flat = numpy.zeros(classes * (width + 1))
    found: dict[float, Classifier] = {}
    for penalty in sorted(penalties, reverse=True):
        problem = _Problem(features, labels, classes, penalty)
        flat = minimize(
            problem, flat, jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS, "gtol": GRADIENT, "ftol": 1e-9}
        ).x
        found[penalty] = problem.classifier(flat)
    return found


class _Problem:
    """The objective and its gradient for scipy, computed where the features are."""

    def __init__(self, features: Tensor, labels: Tensor, classes: int, penalty: float) -> None:
        self.features, self.labels, self.classes, self.penalty = features, labels, classes, penalty

    def classifier(self, flat: numpy.ndarray) -> Classifier:
        both = torch.from_numpy(flat).to(self.features).view(self.classes, -1)
        return Classifier(both[:, :-1], both[:, -1])

    def __call__(self, flat: numpy.ndarray) -> tuple[float, numpy.ndarray]:
        now = self.classifier(flat)
        logits = now.logits(self.features)
        value = cross_entropy(logits, self.labels) + self.penalty / 2 * now.weight.square().sum()
        logits = logits.softmax(1)
        logits[torch.arange(len(logits), device=logits.device), self.labels] -= 1
        logits /= len(logits)
        gradient = torch.cat([logits.T @ self.features + self.penalty * now.weight, logits.sum(0)[:, None]], dim=1)
        return float(value), gradient.double().cpu().numpy().ravel()
