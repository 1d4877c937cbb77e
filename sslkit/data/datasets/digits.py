"""Data set of scikit-learn's handwritten digits, which need no download."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from sslkit.contracts.dataset import Dataset, Split
from sslkit.contracts.options import Options as BaseOptions
from sslkit.data.store import TensorStore
from sslkit.errors import DataError

NATIVE_SIDE = 8
"""Side of scikit-learn's images in pixels."""

MAX_VALUE = 16
"""Largest value of a pixel in scikit-learn's images."""


class Digits(Dataset):
    """1797 grey images ``[1, size, size]`` of handwritten digits; pixel values 0 to 16 are scaled to 0 to 255.

    The split ``test`` has the same fifth of each class in every run. ``train`` has all other images.
    """

    api = 2

    class Options(BaseOptions):
        """Size of the images."""

        size: int = Field(default=16, ge=NATIVE_SIDE, le=256)
        """Side in pixels. The 8-pixel digits are enlarged (bicubic), so that deeper networks can process them."""

    options: Options

    @classmethod
    def check_options(cls, folder: Path) -> Mapping[str, Any]:
        return {}

    @property
    def splits(self) -> tuple[str, ...]:
        return "train", "test"

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple("0123456789")

    def load(self, split: str) -> Split:
        if split not in self.splits:
            raise DataError(f"digits has no split {split!r}. It has: train, test.")
        from sklearn.datasets import load_digits

        values, labels = load_digits(return_X_y=True)
        images = torch.from_numpy(values / MAX_VALUE * 255).reshape(-1, 1, NATIVE_SIDE, NATIVE_SIDE)
        indices = torch.from_numpy(np.flatnonzero(_is_test(labels) == (split == "test")))
        return Split(
            TensorStore(_scale(images[indices], self.options.size)), torch.from_numpy(labels.astype(np.int64))[indices]
        )


def _is_test(labels: np.ndarray) -> np.ndarray:
    # numpy guarantees that RandomState never changes, so the split is the same with every version.
    random = np.random.RandomState(0)
    test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        test[members[: round(len(members) / 5)]] = True
    return test


def _scale(images: Tensor, size: int) -> Tensor:
    if size != NATIVE_SIDE:
        images = torch.nn.functional.interpolate(images, size=(size, size), mode="bicubic", antialias=True)
    return images.round().clamp(0, 255).to(torch.uint8)
