"""Near-duplicates: pairs and groups of images with almost equal features."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sslkit.errors import InputError
from sslkit.features.near_duplicates import duplicate_groups, near_duplicates


def random(count: int, dimensions: int = 32, seed: int = 0) -> Tensor:
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))


def with_copies() -> Tensor:
    """100 random images; 3 and 90 are copies of 20 with some noise, 40 is an exact copy of 7."""
    features = random(100)
    features[3] = features[20] + 0.01 * random(1, seed=1)[0]
    features[90] = features[20] + 0.05 * random(1, seed=2)[0]
    features[40] = 3 * features[7]
    return features


@pytest.mark.parametrize("chunk", [1, 13, None])
def test_copies_are_found_in_order_of_similarity(chunk: int | None) -> None:
    pairs = near_duplicates(with_copies(), chunk=chunk)
    assert [pair[:2] for pair in pairs[:2]] == [(7, 40), (3, 20)]
    assert len(pairs) == 3
    assert pairs[2][1] == 90
    assert pairs[2][0] in (3, 20)
    assert pairs[0][2] == pytest.approx(1, abs=1e-6)
    assert [similarity for _, _, similarity in pairs] == sorted((pair[2] for pair in pairs), reverse=True)
    assert duplicate_groups(pairs) == [[3, 20, 90], [7, 40]]


def test_random_images_have_none() -> None:
    assert near_duplicates(random(200)) == []
    assert duplicate_groups([]) == []


def test_the_threshold_is_relative_to_the_distances_of_a_class() -> None:
    """A dense class: all similarities are above 0.99, and still only the copy is a near-duplicate."""
    dense = 0.05 * random(60, seed=3)
    dense[:, 0] += 5
    dense[9] = dense[2] + 1e-3
    features = torch.cat([random(60, seed=4), dense])
    assert [pair[:2] for pair in near_duplicates(features)] == [(62, 69)]


def test_many_copies_do_not_hide_each_other() -> None:
    features = random(100)
    features[50:80] = features[50] + 0.01 * random(30, seed=5)
    assert duplicate_groups(near_duplicates(features)) == [list(range(50, 80))]


def test_equal_images_are_one_group_with_few_pairs() -> None:
    pairs = near_duplicates(torch.ones(500, 4))
    assert [pair[:2] for pair in pairs] == [(0, other) for other in range(1, 500)]


def test_scale_rotation_and_order_do_not_matter() -> None:
    features = with_copies()
    rotation = torch.linalg.qr(random(32, seed=6)).Q
    expected = [pair[:2] for pair in near_duplicates(features)]
    assert [pair[:2] for pair in near_duplicates(1e-3 * features @ rotation)] == expected
    groups = duplicate_groups(near_duplicates(features.flip(0)))
    assert sorted(sorted(99 - image for image in group) for group in groups) == [[3, 20, 90], [7, 40]]


def test_zero_finds_only_equal_features() -> None:
    assert [pair[:2] for pair in near_duplicates(with_copies(), 0.0)] == [(7, 40)]


def test_groups_join_chains() -> None:
    assert duplicate_groups([(0, 1, 1.0), (4, 5, 0.9), (1, 4, 0.9), (2, 3, 0.9)]) == [[0, 1, 4, 5], [2, 3]]


def test_few_images_and_zeros_have_none() -> None:
    assert near_duplicates(torch.ones(1, 3)) == []
    assert near_duplicates(torch.zeros(5, 3)) == []
    assert [pair[:2] for pair in near_duplicates(torch.ones(2, 3))] == [(0, 1)]


def test_nan_is_refused() -> None:
    features = random(5)
    features[2, 0] = torch.nan
    with pytest.raises(InputError, match="first image 2"):
        near_duplicates(features)
