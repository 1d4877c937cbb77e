"""Assign images to classes so that all classes have nearly the same size."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

import sslkit

ROWS_AT_A_TIME = 4096
"""Number of images that are classified at a time, to save memory."""


@torch.no_grad()
def equal_partition(
    embeddings: Tensor,
    classify: Callable[[Tensor], tuple[Tensor, ...]],
    groups: sslkit.ClassifierGroups,
    factor: float,
    iterations: int,
) -> list[Tensor]:
    """Return the class of each image in an equal partition, for every classifier, without a device sync.

    The Sinkhorn-Knopp algorithm finds weights ``P[n, k] = exp(factor * logits[n, k]) * a[n] * b[k]`` such that each
    image has the same total weight and each class has the same total weight. An image gets the class with its largest
    weight (arXiv 1911.05371, equations 5 to 8). As ``a`` does not change this class, only ``log b`` is stored: one
    number for each class. Logits are computed again in each iteration, so memory does not grow with N times K.

    Args:
        embeddings: tensor ``[N, E]``.
        classify: function that returns the logits ``[M, K]`` of each classifier for embeddings ``[M, E]``.
        groups: the classifiers, grouped by number of classes.
        factor: positive number; a larger value gives weights closer to 0 and 1, and needs more iterations.
        iterations: int, number of iterations. Each normalises the weights of images, then of classes.

    Returns:
        For each group of R classifiers, an int64 tensor ``[R, N]``.
    """

    def scores() -> Iterator[list[Tensor]]:
        """Yield ``log(P[n, k] / a[n])`` as a tensor ``[R, M, K]`` for each group, for M images at a time."""
        for block in embeddings.split(ROWS_AT_A_TIME):
            by_group = groups.stack([(logits,) for logits in classify(block)])
            yield [logits[:, 0] * factor + b[:, None] for logits, b in zip(by_group, log_b, strict=True)]

    log_b = [
        embeddings.new_zeros(len(group), classes) for group, classes in zip(groups.indices, groups.sizes, strict=True)
    ]
    for _ in range(iterations):
        by_block = [[log_p.log_softmax(2).logsumexp(1) for log_p in blocks] for blocks in scores()]
        sums = [torch.stack(parts).logsumexp(0) for parts in zip(*by_block, strict=True)]
        log_b = [b - total for b, total in zip(log_b, sums, strict=True)]
    by_block = [[log_p.argmax(2) for log_p in blocks] for blocks in scores()]
    return [torch.cat(parts, dim=1) for parts in zip(*by_block, strict=True)]
