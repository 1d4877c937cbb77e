from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslkit.data.label_subsets import nested_subsets, stratified_folds

label_tensors = st.lists(st.integers(0, 4), min_size=1, max_size=200).map(torch.tensor)
fractions = st.floats(0.001, 1)


@settings(deadline=None, max_examples=60)
@given(label_tensors, fractions, fractions, st.integers(0, 2**31))
def test_subsets_are_nested_and_take_the_same_fraction_of_every_class(
    labels: torch.Tensor, one: float, other: float, seed: int
) -> None:
    small, large = sorted((one, other))
    subsets = nested_subsets(labels, [large, small], seed)
    assert set(subsets[small].tolist()) <= set(subsets[large].tolist())
    for fraction, indices in subsets.items():
        assert indices.tolist() == sorted(set(indices.tolist()))
        for label in set(labels.tolist()):
            size = int((labels == label).sum())
            assert int((labels[indices] == label).sum()) == max(1, round(fraction * size))


def test_the_seed_determines_the_images() -> None:
    labels = torch.arange(10).repeat(50)
    draws = [tuple(nested_subsets(labels, [0.1], seed)[0.1].tolist()) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


@settings(deadline=None, max_examples=60)
@given(label_tensors, st.integers(2, 6), st.integers(0, 99))
def test_each_image_is_in_one_fold_and_classes_are_divided_evenly(labels: torch.Tensor, count: int, seed: int) -> None:
    folds = stratified_folds(labels, count, seed)
    fewest = int(torch.unique(labels, return_counts=True)[1].min())
    if fewest < 2:
        assert folds == []
        return
    assert len(folds) == min(count, fewest)
    assert sorted(torch.cat(folds).tolist()) == list(range(len(labels)))
    for label in set(labels.tolist()):
        sizes = [int((labels[fold] == label).sum()) for fold in folds]
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= 1
