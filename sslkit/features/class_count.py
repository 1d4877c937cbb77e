"""Propose a number of classes: cluster features into different numbers of clusters, and score each clustering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslkit.errors import InputError
from sslkit.features.class_count_scores import CandidateScores, score_candidate
from sslkit.features.neighbours import check_features, unit_rows

MIN_IMAGES = 20
"""Smallest number of images for a proposal."""

IMAGES_PER_CLASS = 20
"""Number of images per class for the largest default candidate."""

MAX_CLASSES = 100
"""Largest default candidate."""

COMPONENTS = 32
"""Number of principal components in which clusters are compared. In more dimensions, all distances become similar."""

HALVINGS = 3
"""Number of random divisions of the images into two halves for each candidate."""

SILHOUETTE_IMAGES = 2000
"""Largest number of images whose silhouettes are averaged; the computation is quadratic."""

PLAUSIBLE = 0.1
"""Largest difference from the best combined score at which a candidate is plausible."""

SCORES = ("silhouette", "davies_bouldin", "coding_length", "seed_stability", "half_stability")
"""Names of the scores that are averaged in the combined score."""

LOWER_IS_BETTER = frozenset({"davies_bouldin", "coding_length"})


@dataclass(frozen=True)
class ClassCountProposal:
    """Proposed number of classes.

    Attributes:
        classes: the candidate with the highest combined score; see ``CandidateScores``.
        low: smallest plausible candidate.
        high: largest plausible candidate.
        clear: whether the scores agree well enough to trust the number.
        reasons: sentences that explain the proposal and its limits.
        candidates: the scores of each candidate, in ascending order of ``classes``.
        images: number of images used.
        seed: seed for the sample and for the clusterings.
    """

    classes: int
    low: int
    high: int
    clear: bool
    reasons: tuple[str, ...]
    candidates: tuple[CandidateScores, ...]
    images: int
    seed: int

    def as_json(self) -> dict[str, Any]:
        """Return the proposal as values that JSON can store."""
        values = asdict(self)
        return values | {"reasons": list(values["reasons"]), "candidates": list(values["candidates"])}


def default_candidates(images: int) -> list[int]:
    """Return the numbers of classes to compare for a number of images.

    These are 2 to 12, then numbers in steps of about 15 %, up to ``images / 20`` and at most 100.
    """
    largest = max(2, min(MAX_CLASSES, images // IMAGES_PER_CLASS))
    candidates = list(range(2, min(12, largest) + 1))
    while candidates[-1] < largest:
        candidates.append(min(largest, round(candidates[-1] * 1.15)))
    return candidates


def propose_class_count(
    features: Tensor, *, candidates: Sequence[int] | None = None, seed: int = 0, max_images: int = 5000
) -> ClassCountProposal:
    """Propose the number of classes into which k-means divides the features best. No labels are needed.

    The features are divided by their lengths, centred and reduced to ``COMPONENTS`` principal components. For each
    candidate, k-means runs with several seeds and on random halves of the images. Each of the five scores (see
    ``CandidateScores``) is scaled to 0 for the worst and 1 for the best candidate. The candidate with the highest
    average of these scores is proposed; of equally good candidates, the smallest. Candidates whose average is at most
    ``PLAUSIBLE`` lower are plausible.

    Args:
        features: tensor ``[N, D]``, features of training images.
        candidates: numbers of classes to compare, each at least 2, or None for ``default_candidates``.
        seed: seed for the sample, the halves and k-means.
        max_images: maximum number of images to use; if there are more, a random sample of this size is used.

    Raises:
        InputError: there are too few images, the features are not finite or are all equal, or candidates are invalid.
    """
    features = check_features(features.cpu(), MIN_IMAGES)
    if max_images < MIN_IMAGES:
        raise InputError(f"max_images must be at least {MIN_IMAGES}, not {max_images}")
    generator = torch.Generator().manual_seed(seed)
    if len(features) > max_images:
        features = features[torch.randperm(len(features), generator=generator)[:max_images].sort().values]
    points = _principal_components(features)
    numbers = sorted(set(default_candidates(len(points)) if candidates is None else candidates))
    different = len(torch.unique(points, dim=0))
    limit = min(different, len(points) // 4)
    if not numbers or numbers[0] < 2 or numbers[-1] > limit:
        raise InputError(
            f"candidates must be in 2 to {limit}, for {len(points)} images of which {different} have different "
            f"features, not {numbers}"
        )
    halves = [torch.randperm(len(points), generator=generator).tensor_split(2) for _ in range(HALVINGS)]
    sampled = torch.randperm(len(points), generator=generator)[:SILHOUETTE_IMAGES]
    rows = [score_candidate(points, number, halves, sampled, seed) for number in numbers]
    scaled = np.mean([_scaled([row[name] for row in rows], name in LOWER_IS_BETTER) for name in SCORES], axis=0)
    scores = tuple(
        CandidateScores(number, **row, combined=float(combined))
        for number, row, combined in zip(numbers, rows, scaled, strict=True)
    )
    best = max(scores, key=lambda score: (score.combined, -score.classes))
    plausible = [score.classes for score in scores if score.combined >= best.combined - PLAUSIBLE]
    clear, reasons = _reasons(best, scores, plausible)
    return ClassCountProposal(
        best.classes, plausible[0], plausible[-1], clear, tuple(reasons), scores, len(points), seed
    )


def _principal_components(features: Tensor) -> Tensor:
    """Return the first principal components of L2-normalised features, float32 ``[N, d]``."""
    unit = unit_rows(features).double()
    centred = unit - unit.mean(dim=0)
    if centred.abs().max() < 1e-6:
        raise InputError("all images have the same features: a number of classes cannot be proposed")
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    kept = min(COMPONENTS, int((values > values[-1] * 1e-10).sum()))
    vectors = vectors[:, -kept:].flip(1)
    # The sign of an eigenvector is arbitrary. k-means++ does not depend on it, but its rounding does.
    signs = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True)).sign()
    points: Tensor = (centred @ (vectors * signs)).float()
    return points


def _scaled(values: Sequence[float], lower_is_better: bool) -> NDArray[np.float64]:
    """Return the scores of all candidates, scaled to 0 for the worst and 1 for the best; zeros if all are equal."""
    scores = -np.array(values) if lower_is_better else np.array(values)
    spread = scores.max() - scores.min()
    # Rounding differences of equal scores must not decide.
    return (scores - scores.min()) / spread if spread > 1e-6 else np.zeros(len(values))


def _reasons(
    best: CandidateScores, scores: Sequence[CandidateScores], plausible: Sequence[int]
) -> tuple[bool, list[str]]:
    """Return whether the proposal ``best`` is unambiguous, and sentences that explain it and warn of its limits.

    ``scores`` contains all candidates, and ``plausible`` the plausible numbers of classes.
    """
    names = {
        "silhouette": "silhouette",
        "davies_bouldin": "Davies-Bouldin index",
        "coding_length": "coding length",
        "seed_stability": "stability over seeds",
        "half_stability": "stability over halves of the images",
    }
    choice = {}
    for name in SCORES:
        sign = -1 if name in LOWER_IS_BETTER else 1
        choice[name] = max(scores, key=lambda score: (sign * getattr(score, name), -score.classes)).classes
    reasons = [
        f"{best.classes} classes have the highest combined score ({best.combined:.2f}); "
        f"{plausible[0]} to {plausible[-1]} are within {PLAUSIBLE} of it.",
        "Each score alone prefers: " + ", ".join(f"{choice[name]} classes ({names[name]})" for name in SCORES) + ".",
        f"With {best.classes} classes, clusterings of different seeds agree with an adjusted Rand index of "
        f"{best.seed_stability:.2f}, and those of different halves of the images with {best.half_stability:.2f}.",
    ]
    warnings = []
    if best.half_stability < 0.7:
        warnings.append("The clusters change with the images: the features have no clear groups at this number.")
    if best.silhouette < 0.15:
        warnings.append(
            f"The clusters overlap (silhouette {best.silhouette:.2f}): real classes may be divided or joined."
        )
    if plausible[-1] > 2 * plausible[0]:
        warnings.append("The plausible range is wide: choose the number from what you know about the images.")
    if best.classes == 2:
        warnings.append("The images may also be a single group: no score compares 2 classes with 1.")
    elif best.classes in (scores[0].classes, scores[-1].classes):
        edge = "smallest" if best.classes == scores[0].classes else "largest"
        warnings.append(f"The proposal is the {edge} candidate: the best number may be outside the candidates.")
    return not warnings, reasons + warnings
