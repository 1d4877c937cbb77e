"""The handwritten digits that come with scikit-learn: a data set that needs no download."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from sslkit.contracts.dataset import Dataset, Split
from sslkit.contracts.options import Options as BaseOptions
from sslkit.data.store import TensorStore
from sslkit.errors import DataError

NATIVE = 8
TOP = 16
"""Largest value of a pixel as scikit-learn has it."""


class Digits(Dataset):
    """1797 grey images of handwritten digits, ``[1, size, size]``; 0 to 16 becomes 0 to 255.

    ``test`` is a fifth of each class, always the same whatever the run's seed; ``train`` is the rest.
    """

    api = 1

    class Options(BaseOptions):
        """How large the digits are."""

        size: int = Field(default=16, ge=NATIVE, le=256)
        """Side in pixels. The digits have 8; more is made once by bicubic scaling, so that networks have room."""

    options: Options

    def __init__(self, options: Options) -> None:
        self.options = options

    @property
    def splits(self) -> tuple[str, ...]:
        return "train", "test"

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple("0123456789")

    def load(self, split: str) -> Split:
        if split not in self.splits:
            raise DataError(f"digits has no split {split!r}; it has train and test.")
        from sklearn.datasets import load_digits

        values, labels = load_digits(return_X_y=True)
        images = torch.from_numpy(values / TOP * 255).reshape(-1, 1, NATIVE, NATIVE)
        chosen = torch.from_numpy(np.flatnonzero(_is_test(labels) == (split == "test")))
        return Split(
            TensorStore(_enlarge(images[chosen], self.options.size)), torch.from_numpy(labels.astype(np.int64))[chosen]
        )


def _is_test(labels: np.ndarray) -> np.ndarray:
    # RandomState's stream is frozen by numpy, so the split is the same with every version.
    random = np.random.RandomState(0)
    test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        places = random.permutation(np.flatnonzero(labels == label))
        test[places[: round(len(places) / 5)]] = True
    return test


def _enlarge(images: Tensor, size: int) -> Tensor:
    if size != NATIVE:
        images = torch.nn.functional.interpolate(images, size=(size, size), mode="bicubic", antialias=True)
    return images.round().clamp(0, 255).to(torch.uint8)
