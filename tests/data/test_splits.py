from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sslkit.contracts.dataset import Split
from sslkit.data.seeds import STREAMS, derive_seed
from sslkit.data.splits import Subset, labelled, stratified
from sslkit.data.store import TensorStore
from sslkit.errors import DataError

LABELS = torch.arange(4).repeat_interleave(torch.tensor([50, 30, 20, 1]))


def test_classes_keep_their_proportion_and_pieces_never_overlap() -> None:
    first, second = stratified(LABELS, 0.1, seed=0)
    assert LABELS[second].bincount().tolist() == [5, 3, 2]
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(len(LABELS)))


def test_the_seed_decides_the_cut() -> None:
    one, again, other = (stratified(LABELS, 0.1, seed)[1].tolist() for seed in (0, 0, 1))
    assert one == again
    assert one != other


@given(st.lists(st.integers(0, 3), min_size=2, max_size=40), st.floats(0.01, 0.99), st.integers(0, 5))
def test_no_class_with_two_images_is_left_out_of_either(values: list[int], fraction: float, seed: int) -> None:
    labels = torch.tensor(values)
    first, second = stratified(labels, fraction, seed)
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(len(labels)))
    for label in set(values):
        assert (labels[first] == label).any()
        if values.count(label) > 1:
            assert (labels[second] == label).any()


def test_a_subset_fetches_its_own() -> None:
    images = TensorStore(torch.arange(9, dtype=torch.uint8).reshape(9, 1, 1, 1))
    part = Subset(images, torch.tensor([7, 3, 5]))
    assert len(part) == 3
    assert part.shape == (1, 1, 1)
    assert part.gather(torch.tensor([2, 0])).flatten().tolist() == [5, 7]


def test_streams_of_a_run_are_all_different() -> None:
    seeds = {derive_seed(seed, name, part) for seed in range(4) for name in STREAMS for part in range(50)}
    assert len(seeds) == 4 * len(STREAMS) * 50
    assert all(0 <= seed < 2**63 for seed in seeds)


class Three:
    class_names = ("a", "b", "c")

    def __init__(self, labels: list[int]) -> None:
        self.labels = torch.tensor(labels)

    def load(self, split: str) -> Split:
        return Split(TensorStore(torch.zeros(len(self.labels), 1, 1, 1, dtype=torch.uint8)), self.labels)


def test_labels_without_a_name_are_refused() -> None:
    assert labelled(Three([0, 2]), "train").labels.tolist() == [0, 2]
    for labels in ([-1, 2], [0, 3]):
        with pytest.raises(DataError, match=f"of its 'train' split {labels[0]} to {labels[1]}, but names 3 classes"):
            labelled(Three(labels), "train")
