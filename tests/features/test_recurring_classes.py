"""Classes that return in other clusterings of the same images."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sslkit.errors import InputError
from sslkit.features.recurring_classes import recurring_classes

ASSIGNED = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])


def test_the_names_of_clusters_do_not_matter() -> None:
    shares = recurring_classes(ASSIGNED, [torch.tensor([5, 5, 5, 5, 0, 0, 0, 0, 3, 3])], 3)
    assert shares.dtype == torch.float32
    assert shares.tolist() == [1, 1, 1]


def test_the_share_counts_the_clusterings() -> None:
    divided = torch.tensor([0, 0, 3, 4, 1, 1, 1, 1, 2, 2])  # 2 of 4 images: Jaccard 0.5
    lost = torch.tensor([0, 3, 4, 5, 1, 1, 1, 1, 2, 2])  # 1 of 4 images
    joined = torch.tensor([0, 0, 0, 0, 0, 0, 0, 1, 2, 2])  # 4 of 7 images, and 1 of 4
    assert recurring_classes(ASSIGNED, [divided], 3).tolist() == [1, 1, 1]
    assert recurring_classes(ASSIGNED, [lost], 3).tolist() == [0, 1, 1]
    assert recurring_classes(ASSIGNED, [joined], 3).tolist() == [1, 0, 1]
    assert recurring_classes(ASSIGNED, [divided, lost, joined, divided], 3).tolist() == [0.75, 0.75, 1]


def test_two_classes_cannot_return_as_one_cluster() -> None:
    assigned = torch.tensor([0, 0, 0, 1, 1, 1])
    assert recurring_classes(assigned, [torch.zeros(6, dtype=torch.int64)], 2).sum() == 1


def test_a_class_without_images_never_returns() -> None:
    assert recurring_classes(ASSIGNED, [ASSIGNED], 4).tolist() == [1, 1, 1, 0]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.permutations(range(5)))
def test_a_clustering_returns_in_itself_under_any_names(values: list[int], names: list[int]) -> None:
    assigned = torch.tensor(values)
    used = torch.bincount(assigned, minlength=5) > 0
    assert torch.equal(recurring_classes(assigned, [torch.tensor(names)[assigned]], 5) == 1, used)


def test_invalid_clusterings_are_refused() -> None:
    with pytest.raises(InputError, match="at least one other seed"):
        recurring_classes(ASSIGNED, [], 3)
    with pytest.raises(InputError, match=r"clustering 1 has the shape \[3\].*10 images"):
        recurring_classes(ASSIGNED, [ASSIGNED[:3]], 3)
    with pytest.raises(InputError, match="clustering 0 has classes out of range: 0 to 2"):
        recurring_classes(ASSIGNED, [ASSIGNED], 2)
    with pytest.raises(InputError, match="clustering 1 has classes out of range: -1"):
        recurring_classes(ASSIGNED, [ASSIGNED - 1], 3)
