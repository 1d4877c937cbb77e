"""k-means finds correct clusters, and equal seeds give equal clusters."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sslkit.features import kmeans
from sslkit.features.kmeans import cluster_rows, fit_centres, nearest_centre


def blobs(count: int = 200, groups: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % groups
    centres = 4 * torch.randn(groups, 6, generator=generator)
    return centres[labels] + 0.3 * torch.randn(count, 6, generator=generator), labels


def test_separate_groups_are_found() -> None:
    points, labels = blobs()
    clusters = nearest_centre(points, fit_centres(points, 4, seed=0))
    assert clusters.dtype == torch.int64
    assert len({(int(a), int(b)) for a, b in zip(clusters, labels, strict=True)}) == 4


def test_the_same_seed_gives_the_same_clusters() -> None:
    points = torch.randn(300, 5, generator=torch.Generator().manual_seed(3))
    assert torch.equal(fit_centres(points, 7, seed=1), fit_centres(points, 7, seed=1))
    assert not torch.equal(fit_centres(points, 7, seed=1, restarts=1), fit_centres(points, 7, seed=2, restarts=1))


def test_only_the_lowest_32_bits_of_a_seed_count() -> None:
    points = torch.randn(300, 5, generator=torch.Generator().manual_seed(3))
    assert torch.equal(fit_centres(points, 7, seed=2**62 + 1), fit_centres(points, 7, seed=1))


def test_more_restarts_are_never_worse() -> None:
    points = torch.randn(300, 2, generator=torch.Generator().manual_seed(3))

    def inertia(restarts: int) -> float:
        return float(torch.cdist(points, fit_centres(points, 12, 0, restarts)).min(dim=1).values.square().sum())

    assert inertia(10) < inertia(1)


def test_the_features_are_unchanged() -> None:
    points, _ = blobs()
    before = points.clone()
    nearest_centre(points, fit_centres(points, 4, seed=0, restarts=1))
    assert torch.equal(points, before)


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_nearest_centre_is_the_nearest(block: int) -> None:
    generator = torch.Generator().manual_seed(0)
    points, centres = torch.randn(50, 6, generator=generator), torch.randn(9, 6, generator=generator)
    assert torch.equal(nearest_centre(points, centres, block), torch.cdist(points, centres).argmin(dim=1))


def test_fewer_points_than_clusters_are_refused() -> None:
    with pytest.raises(ValueError, match="n_samples"):
        fit_centres(torch.randn(3, 2), 4, seed=0)


def test_rows_are_clustered_with_the_centres_of_some_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmeans, "MAX_FITTED", 20)
    points, labels = blobs()
    indices = torch.arange(3, len(points))
    fitted: list[int] = []
    monkeypatch.setattr(kmeans, "fit_centres", lambda rows, *rest: fitted.append(len(rows)) or fit_centres(rows, *rest))
    clusters = cluster_rows(points, indices, 4, seed=0)
    assert fitted == [20]
    for label in range(4):
        assert len(clusters[labels[indices] == label].unique()) == 1
    assert len(clusters.unique()) == 4
