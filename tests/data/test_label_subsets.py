from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslkit.data.label_subsets import folds, nested_fractions

labellings = st.lists(st.integers(0, 4), min_size=1, max_size=200).map(torch.tensor)
fractions = st.floats(0.001, 1)


@settings(deadline=None, max_examples=60)
@given(labellings, fractions, fractions, st.integers(0, 2**31))
def test_fractions_are_nested_and_take_the_same_part_of_every_class(
    labels: torch.Tensor, one: float, other: float, seed: int
) -> None:
    small, large = sorted((one, other))
    found = nested_fractions(labels, [large, small], seed)
    assert set(found[small].tolist()) <= set(found[large].tolist())
    for fraction, places in found.items():
        assert places.tolist() == sorted(set(places.tolist()))
        for label in set(labels.tolist()):
            own = int((labels == label).sum())
            assert int((labels[places] == label).sum()) == max(1, round(fraction * own))


def test_seeds_draw_different_images_and_the_same_seed_the_same() -> None:
    labels = torch.arange(10).repeat(50)
    draws = [tuple(nested_fractions(labels, [0.1], seed)[0.1].tolist()) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


@settings(deadline=None, max_examples=60)
@given(labellings, st.integers(2, 6), st.integers(0, 99))
def test_folds_share_every_image_once_and_every_class_evenly(labels: torch.Tensor, count: int, seed: int) -> None:
    found = folds(labels, count, seed)
    fewest = int(torch.unique(labels, return_counts=True)[1].min())
    if fewest < 2:
        assert found == []
        return
    assert len(found) == min(count, fewest)
    assert sorted(torch.cat(found).tolist()) == list(range(len(labels)))
    for label in set(labels.tolist()):
        shares = [int((labels[fold] == label).sum()) for fold in found]
        assert max(shares) - min(shares) <= 1
        assert min(shares) >= 1
