"""Nearest neighbours: exact, in a stable order, and with bounded memory."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from largest_tensor import LargestTensor
from torch import Tensor
from torch.nn.functional import normalize

from sslkit.errors import InputError
from sslkit.features.neighbours import mutual, nearest_neighbours


def random(count: int, dimensions: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))


def on_a_circle(*degrees: float) -> Tensor:
    angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angles.cos(), angles.sin()], dim=1).float()


def exact(features: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """All similarities in float64, sorted."""
    unit = normalize(features.double(), dim=1)
    similarity = (unit @ unit.T).float().fill_diagonal_(-torch.inf)
    values, index = similarity.sort(dim=1, descending=True, stable=True)
    return index[:, :k], values[:, :k]


def test_neighbours_on_a_circle() -> None:
    index, similarity = nearest_neighbours(on_a_circle(0, 10, 30, 65), 2)
    assert index.dtype == torch.int64
    assert similarity.dtype == torch.float32
    assert index.tolist() == [[1, 2], [0, 2], [1, 0], [2, 1]]
    expected = torch.deg2rad(torch.tensor([[10.0, 30], [10, 20], [20, 30], [35, 55]])).cos()
    torch.testing.assert_close(similarity, expected)


@pytest.mark.parametrize("chunk", [1, 7, 1000, None])
def test_equal_to_a_sort_of_all_similarities(chunk: int | None) -> None:
    features = random(80)
    index, similarity = nearest_neighbours(features, 9, chunk=chunk)
    expected, values = exact(features, 9)
    assert torch.equal(index, expected)
    torch.testing.assert_close(similarity, values)


def test_equal_similarities_are_in_order_of_the_index() -> None:
    index, similarity = nearest_neighbours(torch.ones(50, 3), 3)
    assert index[0].tolist() == [1, 2, 3]
    assert index[1].tolist() == [0, 2, 3]
    assert index[49].tolist() == [0, 1, 2]
    torch.testing.assert_close(similarity, torch.ones(50, 3), atol=1e-6, rtol=0)


def test_ties_among_many_copies_are_in_order_of_the_index() -> None:
    features = random(3, 40)[torch.arange(120) % 3]  # 40 copies of each of three images
    for chunk in (None, 11):
        index, _ = nearest_neighbours(features, 45, chunk=chunk)
        assert index[0, :39].tolist() == list(range(3, 120, 3))
        second = index[0, 39:]
        assert second.tolist() == list(range(int(second[0]), int(second[0]) + 18, 3))
        assert int(second[0]) in (1, 2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 40), st.sampled_from([1e-30, 1e-3, 1.0, 1e30]))
def test_scale_rotation_and_order_do_not_matter(seed: int, count: int, scale: float) -> None:
    features = random(count, seed=seed)
    index, similarity = nearest_neighbours(features, 3)
    rotation = torch.linalg.qr(random(6, seed=seed + 1)).Q
    torch.testing.assert_close(nearest_neighbours(features @ rotation, 3)[1], similarity, atol=1e-5, rtol=0)
    torch.testing.assert_close(nearest_neighbours(features * scale, 3)[1], similarity, atol=1e-5, rtol=0)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    moved, moved_similarity = nearest_neighbours(features[order], 3)
    assert torch.equal(order[moved], index[order])
    torch.testing.assert_close(moved_similarity, similarity[order])


def test_excluded_similarities_leave_the_next_neighbours() -> None:
    features = on_a_circle(0, 1, 40, 90)
    index, similarity = nearest_neighbours(features, 2, exclude_similarity=0.99)
    assert index.tolist() == [[2, 3], [2, 3], [1, 0], [2, 1]]
    assert similarity.max() < 0.99


def test_missing_neighbours_are_minus_one() -> None:
    index, similarity = nearest_neighbours(torch.cat([torch.ones(30, 2), -torch.ones(1, 2)]), 3, exclude_similarity=1.0)
    assert index[:30].tolist() == [[30, -1, -1]] * 30
    assert index[30].tolist() == [0, 1, 2]
    torch.testing.assert_close(similarity[0], torch.tensor([-1, -torch.inf, -torch.inf]), atol=1e-6, rtol=0)


def test_references_are_searched_without_skipping() -> None:
    references = on_a_circle(0, 45, 90)
    index, similarity = nearest_neighbours(on_a_circle(44, 0), 3, references=references)
    assert index.tolist() == [[1, 0, 2], [0, 1, 2]]
    assert similarity[1, 0] == pytest.approx(1)


def test_zeros_have_no_similar_image() -> None:
    _, similarity = nearest_neighbours(torch.zeros(4, 3), 2)
    assert torch.equal(similarity, torch.zeros(4, 2))


@pytest.mark.parametrize("features", [random(2000, 4), torch.ones(2000, 4)])
def test_the_chunk_limits_the_memory(features: Tensor) -> None:
    with LargestTensor() as mode:  # type: ignore[no-untyped-call]
        nearest_neighbours(features, 3, chunk=8)
    assert 8 * 2000 <= mode.largest < 3 * 8 * 2000


def test_mutual_neighbours() -> None:
    index = torch.tensor([[1, 2], [0, 3], [3, -1], [1, 0]])
    assert mutual(index).tolist() == [[True, False], [True, True], [False, False], [True, False]]


@pytest.mark.parametrize(
    ("features", "k", "words"),
    [
        (torch.ones(3, 2), 3, ["3 neighbours", "there are 2"]),
        (torch.ones(3, 2), 0, ["at least 1", "not 0"]),
        (torch.ones(3), 1, ["[N, D]", "[3]"]),
        (torch.tensor([[1.0], [torch.nan], [torch.inf]]), 1, ["2 of 3 images", "first image 1", "NaN or infinite"]),
    ],
)
def test_invalid_input_is_refused(features: Tensor, k: int, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        nearest_neighbours(features, k)
    for word in words:
        assert word in str(caught.value)
    with pytest.raises(InputError, match=r"2 values, but the reference features have 3"):
        nearest_neighbours(torch.ones(3, 2), 1, references=torch.ones(3, 3))
