"""Positives that are nearest neighbours: which are candidates, and how they are drawn."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

import sslkit
from sslkit.contracts.options import NoOptions
from sslkit.errors import InputError
from sslkit.positives.neighbours import Neighbours
from sslkit.positives.views import OwnViews


def make(**options: Any) -> Neighbours:
    context = sslkit.Context(1, 8, (0.5,), (0.2,), 4, 5, 2)
    return Neighbours(Neighbours.Options(**options), context)


def features(count: int = 40) -> Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(0))


def candidates(prepared: dict[str, Tensor]) -> list[set[int]]:
    """Return the set of positives of each image."""
    rows = zip(prepared["neighbours"].tolist(), prepared["count"].tolist(), strict=True)
    return [set(row[:count]) for row, count in rows]


def draw(positives: Neighbours, prepared: dict[str, Tensor], index: Tensor, seed: int = 0) -> Tensor:
    return positives.draw(prepared, index, torch.Generator().manual_seed(seed))


def test_candidates_are_the_k_most_similar_images_without_the_image_itself() -> None:
    rows = normalize(features().double(), dim=1)
    similarity = rows @ rows.T
    similarity.fill_diagonal_(-2)
    expected = [set(row) for row in similarity.topk(5).indices.tolist()]
    found = candidates(make(k=5).prepare(features()))
    assert found == expected


def test_mutual_neighbours() -> None:
    near = candidates(make(k=5).prepare(features()))
    expected = [{other for other in near[image] if image in near[other]} for image in range(len(near))]
    assert candidates(make(k=5, mutual=True).prepare(features())) == expected
    assert expected != near


def test_near_duplicates_are_left_out() -> None:
    rows = torch.cat([features(), features()[:3] * 2])
    found = candidates(make(k=5, exclude_similarity=0.99).prepare(rows))
    with_duplicates = candidates(make(k=5).prepare(rows))
    for image in range(3):
        assert 40 + image in with_duplicates[image]
        assert 40 + image not in found[image]
        assert len(found[image]) == 5


def test_an_image_without_neighbours_is_its_own_positive() -> None:
    positives = make(k=2, exclude_similarity=0.5)
    prepared = positives.prepare(torch.ones(4, 6))
    assert candidates(prepared) == [set()] * 4
    assert draw(positives, prepared, torch.tensor([3, 1])).tolist() == [[3], [1]]


def test_every_neighbour_is_drawn_equally_often() -> None:
    positives = make(k=4, mutual=True)
    prepared = positives.prepare(features())
    index = torch.arange(40).repeat(2000)
    drawn = draw(positives, prepared, index)
    assert drawn.shape == (80_000, 1)
    for image, near in enumerate(candidates(prepared)):
        values, counts = drawn[image::40].unique(return_counts=True)
        assert set(values.tolist()) == (near or {image})
        assert counts.tolist() == pytest.approx([2000 / len(counts)] * len(counts), abs=5 * (2000 / 4) ** 0.5)


def test_draws_depend_on_the_generator_alone() -> None:
    positives = make(k=5)
    prepared, index = positives.prepare(features()), torch.arange(40)
    assert torch.equal(draw(positives, prepared, index), draw(positives, prepared, index))
    assert not torch.equal(draw(positives, prepared, index), draw(positives, prepared, index, seed=1))


@pytest.mark.parametrize("count", [0, 1, 5])
def test_too_few_images(count: int) -> None:
    with pytest.raises(InputError, match=rf"positives\.k = 5 needs more than 5 training images, but there are {count}"):
        make(k=5).prepare(features(count))


def test_features_that_are_not_finite() -> None:
    rows = features()
    rows[7, 2] = torch.nan
    with pytest.raises(InputError, match="NaN or infinite, first image 7"):
        make(k=5).prepare(rows)


def test_own_views_are_no_positives() -> None:
    positives = OwnViews(NoOptions(), sslkit.Context(1, 8, (0.5,), (0.2,), 4, 5, 2))
    assert positives.count == 0
    assert positives.draw({}, torch.arange(3), torch.Generator()).shape == (3, 0)
