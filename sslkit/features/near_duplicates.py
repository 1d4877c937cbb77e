"""Near-duplicates: images whose features are almost equal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslkit.features.neighbours import (
    MAX_SIMILARITIES,
    ROUNDING,
    check_features,
    nearest_neighbours,
    pair_similarity,
    quantise,
    unit_rows,
)

DUPLICATE_DISTANCE = 0.2
"""Default relative distance of near-duplicates.

With EfficientNet-Lite0, this distance finds 6 pairs in 1337 photographs of steel: 4 pairs clearly show the same scene,
and 2 pairs may. In CIFAR-10's test images, 10 pairs are found, all of the same picture. No fixed cosine similarity fits
both data sets: in CIFAR-10, pairs with a similarity of 0.88 are the same picture; in steel, hundreds of pairs above
0.95 differ.
"""

TYPICAL_NEIGHBOUR = 10
"""Rank of the neighbour whose distance is typical of an image; most images have fewer copies than this rank."""


def near_duplicates(
    features: Tensor, threshold: float = DUPLICATE_DISTANCE, *, chunk: int | None = None
) -> list[tuple[int, int, float]]:
    """Return the pairs of images that connect each group of near-duplicates.

    The distance between two images is 1 minus their cosine similarity. Two images are near-duplicates if their distance
    is at most ``threshold * sqrt(r_i * r_j)``. Here ``r_i`` is the distance from image i to its 10th neighbour, so that
    the rule has the same meaning for every network, and for dense and sparse classes. ``r_i`` is at least half the
    median of these distances, because an image with 10 or more copies would otherwise have an ``r_i`` near 0, and its
    copies would not be found. Near-duplicates of near-duplicates belong to the same group. A group of n images is
    reported as the n - 1 most similar pairs that connect it (a maximum spanning tree). Reporting all pairs would give
    millions of pairs for a folder of black images.

    Args:
        features: tensor ``[N, D]``.
        threshold: largest distance relative to the typical distances, in [0, 1). 0 finds equal features only.
        chunk: number of images to process at a time; memory is needed for ``chunk * N`` similarities.

    Returns:
        Tuples ``(i, j, similarity)`` with i < j, sorted by descending cosine similarity, then by i and j.

    Raises:
        InputError: the features are not finite or have the wrong shape.
    """
    features = check_features(features)
    if len(features) < 2:
        return []
    _, similarity = nearest_neighbours(features, min(TYPICAL_NEIGHBOUR, len(features) - 1), chunk=chunk)
    typical = 1 - similarity[:, -1]
    root = typical.maximum(typical.median() / 2).clamp_min(0).sqrt()
    unit = unit_rows(features)
    kept, copies = _first_of_equal_rows(unit)
    rows_kept = torch.from_numpy(kept).to(unit.device)
    bank, root = unit[rows_kept], root[rows_kept]
    rows = chunk or max(1, MAX_SIMILARITIES // len(bank))
    tree = np.empty((0, 3), dtype=np.int64)  # similarity in steps, i, j
    for start in range(0, len(bank), rows):
        # Only pairs with i < j: earlier chunks contain the others.
        part = bank[start : start + rows] @ bank[start:].T
        close = 1 - part <= threshold * root[start : start + rows, None] * root[start:] + ROUNDING
        first, second = close.triu_(1).nonzero(as_tuple=True)
        pairs = torch.stack([quantise(part[first, second]), first + start, second + start], dim=1)
        tree = _spanning_tree(np.concatenate([tree, pairs.cpu().numpy()]), len(bank))
    found = np.concatenate([kept[tree[:, 1:]], copies])
    pair_index = torch.from_numpy(found).to(unit.device)
    first, second = pair_index[:, 0], pair_index[:, 1:]
    exact = pair_similarity(features[first], features, second)[:, 0].tolist() if len(found) else []
    result = [(i, j, value) for (i, j), value in zip(found.tolist(), exact, strict=True)]
    return sorted(result, key=lambda pair: (-pair[2], pair[0], pair[1]))


def _first_of_equal_rows(unit: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first index of each set of equal rows, and index pairs ``[n, 2]`` of a first row and its copy.

    Copies need no search, because they have the similarities of the first row. All-zero rows do not count as copies,
    because their similarity is 0.
    """
    rows = np.ascontiguousarray(unit.cpu().numpy() + 0.0)  # adding 0.0 turns -0.0 into 0.0
    _, first, inverse = np.unique(rows.view(f"V{rows.shape[1] * 4}").ravel(), return_index=True, return_inverse=True)
    earliest = first[inverse]
    index = np.arange(len(rows))
    is_copy = (earliest != index) & rows.any(axis=1)
    return index[~is_copy], np.stack([earliest[is_copy], index[is_copy]], axis=1)


def _spanning_tree(pairs: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Select the fewest and most similar pairs that connect the same groups as ``pairs``: a maximum spanning forest.

    Of equally similar pairs, those with the lowest indices are selected.

    Args:
        pairs: pairs ``[P, 3]`` of near-duplicates, with the columns similarity (in steps of ``quantise``), i and j.
        count: number of images, which i and j index.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    pairs = pairs[np.lexsort((pairs[:, 2], pairs[:, 1], -pairs[:, 0]))]
    # The ranks as weights are all different, so that there is only one forest, for any chunk.
    ranks = np.arange(1, len(pairs) + 1, dtype=np.float64)
    graph = coo_array((ranks, (pairs[:, 1], pairs[:, 2])), shape=(count, count)).tocsr()
    return pairs[np.sort(minimum_spanning_tree(graph).data).astype(np.int64) - 1]


def duplicate_groups(pairs: Sequence[tuple[int, int, float]]) -> list[list[int]]:
    """Return the groups of images that pairs of ``near_duplicates`` connect: largest first, indices ascending."""
    group_of: dict[int, list[int]] = {}
    for i, j, _ in pairs:
        left, right = group_of.setdefault(i, [i]), group_of.setdefault(j, [j])
        if left is right:
            continue
        if len(left) < len(right):
            left, right = right, left
        left.extend(right)
        group_of.update(dict.fromkeys(right, left))
    groups = {id(group): sorted(group) for group in group_of.values()}
    return sorted(groups.values(), key=lambda group: (-len(group), group[0]))
