from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from sslkit.data.datasets import digits
from sslkit.data.datasets.digits import Digits
from sslkit.errors import DataError


def load(size: int, split: str):
    return Digits(Digits.Options(size=size)).load(split)


def test_values_of_the_native_size_are_scaled_to_0_to_255() -> None:
    train, test = load(8, "train"), load(8, "test")
    assert train.images.shape == (1, 8, 8)
    assert (len(train.images), len(test.images)) == (1438, 359)
    values, _ = load_digits(return_X_y=True)
    ours = torch.cat([train.images.images, test.images.images]).flatten(1).numpy()
    assert sorted(map(tuple, ours)) == sorted(map(tuple, np.rint(values / 16 * 255).astype(int)))
    assert ours.max() == 255


def test_the_default_size_is_scaled_smoothly() -> None:
    assert Digits.Options().size == 16
    small, large = load(8, "test").images.images.float(), load(16, "test").images.images.float()
    assert large.shape == (359, 1, 16, 16)
    assert (torch.nn.functional.avg_pool2d(large, 2) - small).abs().mean() < 12


def test_the_split_is_stratified_and_never_changes() -> None:
    _, labels = load_digits(return_X_y=True)
    chosen = np.flatnonzero(digits._is_test(labels))
    assert hashlib.sha256(chosen.astype("<i8").tobytes()).hexdigest() == GOLDEN
    fractions = np.bincount(load(8, "test").labels) / np.bincount(labels)
    assert np.abs(fractions - 0.2).max() < 0.004
    torch.manual_seed(5)
    np.random.seed(5)
    assert np.array_equal(np.flatnonzero(digits._is_test(labels)), chosen)


def test_names_and_splits() -> None:
    dataset = Digits(Digits.Options())
    assert dataset.splits == ("train", "test")
    assert dataset.class_names == tuple("0123456789")
    with pytest.raises(DataError, match=r"^digits has no split 'validation'\. It has: train, test\.$"):
        dataset.load("validation")


GOLDEN = "3530be80b9605f4c4adc46d0ee3006a356c16968a8efcc58f24463bc820d5ef9"
