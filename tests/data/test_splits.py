from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sslkit.contracts.dataset import Split
from sslkit.data.seeds import STREAMS, derive_seed
from sslkit.data.splits import evenly_spaced_indices, load_split, stratified_split
from sslkit.data.store import SubsetStore, TensorStore
from sslkit.errors import DataError

LABELS = torch.arange(4).repeat_interleave(torch.tensor([50, 30, 20, 1]))


def test_classes_keep_their_proportion_and_parts_do_not_overlap() -> None:
    first, second = stratified_split(LABELS, 0.1, seed=0)
    assert LABELS[second].bincount().tolist() == [5, 3, 2]
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(len(LABELS)))


def test_the_seed_determines_the_split() -> None:
    one, again, other = (stratified_split(LABELS, 0.1, seed)[1].tolist() for seed in (0, 0, 1))
    assert one == again
    assert one != other


@given(st.lists(st.integers(0, 3), min_size=2, max_size=40), st.floats(0.01, 0.99), st.integers(0, 5))
def test_a_class_of_two_images_is_in_both_parts(values: list[int], fraction: float, seed: int) -> None:
    labels = torch.tensor(values)
    first, second = stratified_split(labels, fraction, seed)
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(len(labels)))
    for label in set(values):
        assert (labels[first] == label).any()
        if values.count(label) > 1:
            assert (labels[second] == label).any()


def test_a_subset_returns_its_own_images() -> None:
    images = TensorStore(torch.arange(9, dtype=torch.uint8).reshape(9, 1, 1, 1))
    part = SubsetStore(images, torch.tensor([7, 3, 5]))
    assert len(part) == 3
    assert part.shape == (1, 1, 1)
    assert part.gather(torch.tensor([2, 0])).flatten().tolist() == [5, 7]


def test_evenly_spaced_indices_include_the_first_and_the_last() -> None:
    assert evenly_spaced_indices(10, 4).tolist() == [0, 3, 6, 9]
    assert evenly_spaced_indices(3, 3).tolist() == [0, 1, 2]


def test_all_random_streams_have_different_seeds() -> None:
    seeds = {derive_seed(seed, name, part) for seed in range(4) for name in STREAMS for part in range(50)}
    assert len(seeds) == 4 * len(STREAMS) * 50
    assert all(0 <= seed < 2**63 for seed in seeds)


class ThreeClasses:
    class_names = ("a", "b", "c")

    def __init__(self, labels: list[int]) -> None:
        self.labels = torch.tensor(labels)

    def load(self, split: str) -> Split:
        return Split(TensorStore(torch.zeros(len(self.labels), 1, 1, 1, dtype=torch.uint8)), self.labels)


def test_labels_without_a_class_name_are_an_error() -> None:
    assert load_split(ThreeClasses([0, 2]), "train").labels.tolist() == [0, 2]
    for labels in ([-1, 2], [0, 3]):
        with pytest.raises(DataError, match=f"'train' are {labels[0]} to {labels[1]}, but the data set names 3"):
            load_split(ThreeClasses(labels), "train")
