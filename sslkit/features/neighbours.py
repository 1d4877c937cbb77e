"""Exact nearest neighbours by cosine similarity."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.nn.functional import normalize

from sslkit.errors import InputError

MAX_SIMILARITIES = 1 << 24
"""Default number of similarities in memory at a time: 64 MiB in float32."""

LARGEST_VALUE = 1e15
"""Largest absolute value, and inverse of the smallest, whose products with unit features keep their precision."""

ROUNDING = 1e-6
"""Largest rounding error of similarities in float32."""

SIMILARITY_STEPS = 1 << 20
"""Steps per unit of similarity; similarities in one step count as equal, because they may differ only by rounding."""

SPARE_CANDIDATES = 8
"""Number of candidates beyond k whose similarities are computed in float64, so that rounding keeps the order."""

PAIR_ROWS = 64
"""Number of images whose candidates are copied as float64 at a time; more would not fit into the CPU's cache."""


def check_features(features: Tensor, minimum: int = 1) -> Tensor:
    """Check that features ``[N, D]`` are finite, and return them as float32.

    Raises:
        InputError: the shape is wrong, there are fewer than ``minimum`` images, or values are not finite.
    """
    if features.ndim != 2 or not features.shape[1]:
        raise InputError(f"features must have the shape [N, D], not {[*features.shape]}")
    if len(features) < minimum:
        raise InputError(f"{len(features)} images are too few: at least {minimum} are needed")
    features = features.detach().float()
    finite = vector_norm(features, torch.inf, dim=1).isfinite()
    if not finite.all():
        first = int(finite.logical_not().nonzero()[0])
        count = int(finite.logical_not().sum())
        raise InputError(
            f"the features of {count} of {len(features)} images are NaN or infinite, first image {first}: "
            "check the network's weights and the pixels of this image"
        )
    return features


def unit_rows(features: Tensor) -> Tensor:
    """Return features ``[N, D]`` divided by their lengths. Rows of zeros do not change."""
    # The square of a very large or very small float32 is not a float32.
    return normalize(features / features.abs().amax(dim=1, keepdim=True).clamp_min(1e-38), dim=1)


def nearest_neighbours(
    features: Tensor,
    k: int,
    *,
    references: Tensor | None = None,
    exclude_similarity: float | None = None,
    chunk: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the k nearest neighbours of each image by cosine similarity.

    The search is exact: returned similarities are computed in float64 from float32 unit features. Neighbours are in
    order of descending similarity; equal similarities are in order of ascending index. All-zero features have
    similarity 0 to every image. The search runs on the device of the features.

    Args:
        features: tensor ``[N, D]``.
        k: number of neighbours, at least 1.
        references: tensor ``[M, D]``, features to search. If None, the other images of ``features`` are searched, so
            that an image is never its own neighbour.
        exclude_similarity: neighbours with at least this similarity (within 1e-6) are ignored, because near-duplicates
            are trivial positives.
        chunk: number of images to process at a time; ``chunk * M`` similarities must fit in memory. By default, at
            most ``MAX_SIMILARITIES`` are in memory.

    Returns:
        - ``[N, k]`` int64 indices of the neighbours. Where ``exclude_similarity`` leaves fewer than k neighbours, the
          remaining indices are -1.
        - ``[N, k]`` float32 similarities in [-1, 1]. The similarity of index -1 is -inf.

    Raises:
        InputError: there are fewer than k other images, or the features are not finite or have the wrong shape.
    """
    queries, bank = check_search(features, references, k)
    found = []
    for part, similarity in similarity_blocks(queries, bank, exclude_self=references is None, chunk=chunk):
        if exclude_similarity is not None:
            similarity.masked_fill_(similarity >= exclude_similarity - ROUNDING, -torch.inf)
        found.append(_best(part, bank, similarity, k))
    return torch.cat([index for index, _ in found]), torch.cat([similarity for _, similarity in found])


def check_search(features: Tensor, references: Tensor | None, k: int) -> tuple[Tensor, Tensor]:
    """Check the arguments of ``nearest_neighbours``.

    Returns:
        The features and the features to search, in float32. The latter are divided by their lengths if they contain
        values so large or so small that their squares could overflow or become 0.

    Raises:
        InputError: there are fewer than k other images, or the features are not finite or have the wrong shape.
    """
    if k < 1:
        raise InputError(f"the number of neighbours must be at least 1, not {k}")
    queries = check_features(features)
    bank = queries if references is None else check_features(references)
    available = len(bank) - (references is None)
    if k > available:
        raise InputError(f"{k} neighbours of each image need at least {k} other images, but there are {available}")
    if bank.shape[1] != queries.shape[1]:
        raise InputError(f"features have {queries.shape[1]} values, but the reference features have {bank.shape[1]}")
    largest = vector_norm(bank, torch.inf, dim=1)
    if largest.max() > LARGEST_VALUE or (largest > 0).logical_and(largest < 1 / LARGEST_VALUE).any():
        bank = unit_rows(bank)
    return queries, bank


def inverse_lengths(bank: Tensor) -> Tensor:
    """Return the factors ``[M]`` that divide the rows of ``bank`` by their lengths; 0 for rows of zeros."""
    lengths = vector_norm(bank, dim=1)
    return torch.where(lengths > 0, 1 / lengths, 0)


def similarity_blocks(
    queries: Tensor, bank: Tensor, *, exclude_self: bool, chunk: int | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, for each block of B queries, their unit features ``[B, D]`` and similarities ``[B, M]`` to ``bank``.

    The similarities are float32 and have rounding errors. The next block overwrites the similarities.

    Args:
        queries: features ``[N, D]``.
        bank: features ``[M, D]``, from ``check_search``.
        exclude_self: whether the queries are the bank; the similarity of an image to itself is then -inf.
        chunk: number of images to process at a time; by default, at most ``MAX_SIMILARITIES`` are in memory.
    """
    # Dividing similarities instead of features saves a copy of all features.
    scale = inverse_lengths(bank)
    rows = chunk or max(1, MAX_SIMILARITIES // len(bank))
    buffer = bank.new_empty(min(rows, len(queries)), len(bank))  # allocated once, because freed memory fragments
    for start in range(0, len(queries), rows):
        part = unit_rows(queries[start : start + rows])
        similarity = torch.mm(part, bank.T, out=buffer[: len(part)]).mul_(scale)
        if exclude_self:
            similarity.diagonal(start).fill_(-torch.inf)
        yield part, similarity


def _best(queries: Tensor, bank: Tensor, similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the nearest neighbours of queries among the rows of ``bank``: indices and similarities ``[B, k]``.

    The float32 similarities select a few more than k candidates, which are then sorted by float64 similarities.

    Args:
        queries: features ``[B, D]``.
        bank: features ``[M, D]``.
        similarity: float32 similarities ``[B, M]`` with rounding errors; -inf for images that must not be neighbours.
        k: number of neighbours.
    """
    rough, candidates = similarity.topk(min(k + SPARE_CANDIDATES, len(bank)), dim=1)
    if candidates.shape[1] < len(bank):
        # Rounding may have dropped a neighbour if the last candidate is as similar as the k-th one.
        ties = (rough[:, k - 1] - rough[:, -1] <= 2 * ROUNDING).nonzero()[:, 0]
        for block in ties.split(max(1, len(queries) // 4)):
            candidates[block] = _lowest_of_ties(similarity[block], candidates.shape[1])
            rough[block] = similarity[block].gather(1, candidates[block])
    exact = pair_similarity(queries, bank, candidates).masked_fill_(rough == -torch.inf, -torch.inf)
    # Stable sorts: first by index, then by similarity.
    candidates, order = candidates.sort(dim=1, stable=True)
    exact, order = exact.gather(1, order).sort(dim=1, descending=True, stable=True)
    index = candidates.gather(1, order).masked_fill_(exact == -torch.inf, -1)
    return index[:, :k].clone(), exact[:, :k].clone()


def _lowest_of_ties(similarity: Tensor, count: int) -> Tensor:
    """Return the indices ``[B, count]`` of the largest values in each row; of equal values, the lowest indices."""
    # One int64 key per pair makes all keys different, so that topk has only one right answer.
    steps = quantise(similarity.clamp_min(-2)).mul_(similarity.shape[1])
    return steps.sub_(torch.arange(similarity.shape[1], device=similarity.device)).topk(count, dim=1).indices


def quantise(similarity: Tensor) -> Tensor:
    """Convert float32 similarities to int64 multiples of ``1 / SIMILARITY_STEPS``.

    Similarities that differ only by rounding errors usually become equal, so that ties can be broken by index.
    """
    return similarity.mul(SIMILARITY_STEPS).round_().long()


def pair_similarity(queries: Tensor, bank: Tensor, index: Tensor) -> Tensor:
    """Return the cosine similarities of each query to k images of the bank, float32 ``[B, k]``, computed in float64.

    Args:
        queries: features ``[B, D]``.
        bank: features ``[M, D]``.
        index: int64 tensor ``[B, k]``, rows of ``bank`` for each query.
    """
    sums = [
        torch.bmm(
            unit_rows(bank[rows.flatten()]).double().unflatten(0, rows.shape), unit_rows(part)[:, :, None].double()
        )[:, :, 0]
        for part, rows in zip(queries.split(PAIR_ROWS), index.split(PAIR_ROWS), strict=True)
    ]
    return torch.cat(sums).clamp_(-1, 1).float()


def mutual(index: Tensor) -> Tensor:
    """Return which neighbours are mutual: image j is a neighbour of image i, and i is a neighbour of j.

    Args:
        index: int64 tensor ``[N, k]`` from ``nearest_neighbours`` without ``references``; -1 means no neighbour.

    Returns:
        bool tensor ``[N, k]``.
    """
    present = index >= 0
    count = len(index)
    rows = torch.arange(count, device=index.device)[:, None].expand_as(index)
    pairs = torch.where(present, rows * count + index, -1)
    reverse = torch.where(present, index * count + rows, -2)
    return torch.isin(reverse, pairs)
