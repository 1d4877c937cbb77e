"""Selection of clean images: those for which a trained network probably predicts the right class."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

import sslkit

Selection = Literal["confidence", "neighbours", "hybrid"]
"""Criterion of a clean image; "hybrid" requires both."""


def clean_images(
    logits: Tensor, features: Tensor, selection: Selection, threshold: float, neighbours: int
) -> tuple[Tensor, Tensor]:
    """Return the predicted class of each image, and whether the image is clean: the class is probably right.

    Source: arXiv 2012.11150, section 3.1.

    Args:
        logits: tensor ``[R, N, K]``, logits of R classifiers divided by the temperature.
        features: tensor ``[N, D]``, used to find the nearest neighbours of each image.
        selection: when an image is clean. ``"confidence"``: the probability of its predicted class is at least
            ``threshold``; ``"neighbours"``: its predicted class is the most frequent prediction for its nearest
            neighbours, or tied for the most frequent; ``"hybrid"``: both.
        threshold: smallest probability of the predicted class of a clean image.
        neighbours: number of nearest neighbours by cosine similarity, not counting the image itself.

    Returns:
        - int64 tensor ``[R, N]``, the predicted classes.
        - bool tensor ``[R, N]``, whether the image is clean.

    Raises:
        sslkit.InputError: there are no more than ``neighbours`` images.
    """
    confidence, predicted = logits.softmax(2).max(2)
    clean = torch.ones_like(predicted, dtype=torch.bool)
    if selection != "neighbours":
        clean &= confidence >= threshold
    if selection != "confidence":
        index, _ = sslkit.nearest_neighbours(features, neighbours)
        for row, own in enumerate(predicted):
            classes = own[index]
            votes = torch.zeros_like(logits[row]).scatter_add_(1, classes, torch.ones_like(classes, dtype=logits.dtype))
            clean[row] &= votes.gather(1, own[:, None])[:, 0] == votes.amax(1)
    return predicted, clean
