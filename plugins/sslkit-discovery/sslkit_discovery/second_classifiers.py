"""The second network of a co-trained pair: linear classifiers on backbone features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot


class SecondClassifiers(nn.Module):
    """R linear classifiers with K classes each, which read L2-normalised backbone features.

    Args:
        classifiers: int, number of classifiers R.
        classes: int, number of classes K.
        feature_dim: int, length D of a feature.
    """

    def __init__(self, classifiers: int, classes: int, feature_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(classifiers, classes, feature_dim))
        self.bias = nn.Parameter(torch.zeros(classifiers, classes))

    @torch.no_grad()
    def start_at_centres(self, features: Tensor, predicted: Tensor, clean: Tensor, logits: Tensor) -> None:
        """Set each class's weight to the direction from the mean of all features to the mean of the class's features.

        The mean of a class is taken over its clean images, or over all of its images if none is clean. The weights of a
        classifier are scaled so that its logits have the least squared distance to those of the first network. Logits
        are compared after subtracting their mean over classes. The scale is at least 0.

        Args:
            features: tensor ``[N, D]``.
            predicted: int64 tensor ``[R, N]``, the class of each image.
            clean: bool tensor ``[R, N]``, whether the class of an image is probably right.
            logits: tensor ``[R, N, K]``, the logits of the first network, which is the backbone with its head.
        """
        unit = normalize(features, dim=1)
        mean = unit.mean(0)
        for row, target in enumerate(logits):
            members = one_hot(predicted[row], target.shape[1]).to(unit.dtype)
            clean_members = members * clean[row][:, None]
            members = torch.where(clean_members.sum(0) > 0, clean_members, members)
            sizes = members.sum(0)[:, None]
            direction = normalize(members.T @ unit / sizes.clamp_min(1) - mean, dim=1) * (sizes > 0)
            own = _centre((unit @ direction.T) - direction @ mean)
            scale = (own * _centre(target)).sum() / own.square().sum().clamp_min(torch.finfo(own.dtype).tiny)
            weight = scale.clamp_min(0) * direction
            self.weight[row] = weight
            self.bias[row] = -weight @ mean

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits ``[R, V, B, K]`` of features ``[V, B, D]``."""
        logits = normalize(features, dim=2) @ self.weight.flatten(0, 1).T + self.bias.flatten()
        by_class: Tensor = logits.unflatten(2, self.bias.shape)
        return by_class.movedim(2, 0)


def _centre(logits: Tensor) -> Tensor:
    """Subtract the mean over classes from logits ``[N, K]``, which does not change the softmax."""
    return logits - logits.mean(1, keepdim=True)
