"""Outlier scores: high for images far from all others, in a unit that does not depend on the data."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sslkit.errors import InputError
from sslkit.features.outliers import OUTLIER_SCORE, outlier_scores


def cone(count: int, seed: int = 0, width: float = 0.1) -> Tensor:
    """Features around the first axis of 16 dimensions."""
    noise = width * torch.randn(count, 16, generator=torch.Generator().manual_seed(seed))
    noise[:, 0] += 1
    return noise


def test_an_image_in_another_direction_has_the_highest_score() -> None:
    features = cone(200)
    features[17] = -features[17]
    scores = outlier_scores(features)
    assert scores.dtype == torch.float32
    assert scores.argmax() == 17
    assert scores[17] > 10 * OUTLIER_SCORE
    assert (scores[torch.arange(200) != 17] > OUTLIER_SCORE).float().mean() < 0.1


def test_the_score_is_the_robust_z_score_of_the_distance() -> None:
    angles = torch.deg2rad(torch.tensor([0.0, 10, 30, 60, 100], dtype=torch.float64))
    distances = 1 - torch.deg2rad(torch.tensor([10.0, 10, 20, 30, 40], dtype=torch.float64)).cos()
    median = distances[2]
    deviation = 1.4826 * (distances - median).abs().sort().values[2]
    scores = outlier_scores(torch.stack([angles.cos(), angles.sin()], dim=1), k=1)
    torch.testing.assert_close(scores, ((distances - median) / deviation).float(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("chunk", [7, None])
@pytest.mark.parametrize("searched", [None, 30])
def test_distances_are_exact(chunk: int | None, searched: int | None) -> None:
    features = cone(60) * torch.logspace(-3, 3, 60)[:, None]
    references = None if searched is None else features[:searched]
    unit = features.double() / features.double().norm(dim=1, keepdim=True)
    similarity = unit @ unit[:searched].T
    if searched is None:
        similarity.fill_diagonal_(-torch.inf)
    distances = 1 - similarity.topk(5, dim=1).values.mean(1)
    progress: list[tuple[int, int]] = []
    scores = outlier_scores(
        features, 5, references=references, chunk=chunk, on_progress=lambda *counts: progress.append(counts)
    )
    # A score is a linear function of the distance, with a positive slope.
    slope = (scores.max() - scores.min()) / (distances.max() - distances.min())
    torch.testing.assert_close(
        scores.double(), (slope * (distances - distances.min()) + scores.min()), atol=1e-4, rtol=0
    )
    assert slope > 1
    assert progress == [(min(start + (chunk or 60), 60), 60) for start in range(0, 60, chunk or 60)]


def test_the_unit_does_not_depend_on_scale_and_order() -> None:
    features = cone(100)
    scores = outlier_scores(features)
    assert scores.median().abs() < 1e-6
    torch.testing.assert_close(outlier_scores(7 * features), scores, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(outlier_scores(features.flip(0)), scores.flip(0), atol=1e-4, rtol=1e-4)


def test_new_images_are_scored_by_the_references() -> None:
    references = cone(300)
    new = torch.cat([cone(50, seed=1), -cone(5, seed=2)])
    scores = outlier_scores(new, references=references)
    assert scores[:50].median() < 1
    assert (scores[50:] > OUTLIER_SCORE).all()
    # Outliers among the new images do not change the scores of the others.
    assert torch.equal(outlier_scores(new[:50], references=references), scores[:50])


def test_few_images_use_all_others() -> None:
    features = torch.tensor([[1.0, 0], [1, 0.1], [1, -0.1], [-1, 0]])
    assert outlier_scores(features).argmax() == 3
    assert torch.equal(outlier_scores(features, k=3), outlier_scores(features, k=20))


def test_equal_images_have_score_zero_and_do_not_hide_an_outlier() -> None:
    assert outlier_scores(torch.ones(30, 4)).abs().max() < OUTLIER_SCORE
    features = torch.ones(30, 4)
    features[3] = -1
    scores = outlier_scores(features, k=3)
    assert scores.argmax() == 3
    assert OUTLIER_SCORE < scores[3] < 100  # the mean absolute deviation replaces the median, which is 0


def test_a_single_image_and_nan_are_refused() -> None:
    with pytest.raises(InputError, match="other images"):
        outlier_scores(torch.ones(1, 2))
    features = cone(30)
    features[4, 2] = torch.nan
    with pytest.raises(InputError, match="first image 4"):
        outlier_scores(features)
