"""Of datasets: each promise of the kit has a mutant that breaks it, and it alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import sslkit
from sslkit.data.store import TensorStore

MUTANTS: list[tuple[str, type]] = []
"""The promise that is broken, and what breaks it."""


def breaks(promise: str) -> Callable[[type], type]:
    def remember(mutant: type) -> type:
        MUTANTS.append((promise, mutant))
        return mutant

    return remember


class GoodDataset(sslkit.Dataset):
    """Ten grey images."""

    api = 1
    splits = ("train", "test")
    class_names = ("dark", "bright")
    mask_names = ("out", "in")

    def load(self, split: str) -> sslkit.Split:
        if split not in self.splits:
            raise sslkit.DataError(f"there is no split {split!r}")
        return self.make()

    def make(self, **changes: Any) -> sslkit.Split:
        images = (25 * torch.arange(10).view(10, 1, 1, 1)).expand(10, 1, 4, 4).to(torch.uint8)
        masks = torch.zeros(10, 4, 4, dtype=torch.uint8)
        masks[:, 1, 1], masks[:, 0] = 1, 255
        return sslkit.Split(
            **{"images": TensorStore(images), "labels": torch.arange(10) // 5, "masks": masks} | changes
        )


@breaks("test_there_is_something_to_train_on")
class DatasetWithoutTrain(GoodDataset):
    """Good otherwise."""

    splits = ("test",)


@breaks("test_a_split_that_is_not_there_is_refused")
class DatasetThatTakesAnything(GoodDataset):
    """Good otherwise."""

    def load(self, split: str) -> sslkit.Split:
        return self.make()


class _Shuffling(TensorStore):
    def gather(self, index: Tensor) -> Tensor:
        return self.images[: len(index)]


@breaks("test_images_are_as_announced")
class DatasetOfOneOrder(GoodDataset):
    """Good otherwise."""

    def make(self, **changes: Any) -> sslkit.Split:
        good = super().make()
        return super().make(images=_Shuffling(good.images.images))


@breaks("test_labels_are_places_in_the_class_names")
class DatasetWithAThirdClass(GoodDataset):
    """Good otherwise."""

    def make(self, **changes: Any) -> sslkit.Split:
        return super().make(labels=torch.arange(10) // 4)


@breaks("test_masks_are_places_in_their_names")
class DatasetWithAThirdKindOfPixel(GoodDataset):
    """Good otherwise."""

    def make(self, **changes: Any) -> sslkit.Split:
        return super().make(masks=torch.full((10, 4, 4), 2, dtype=torch.uint8))


@breaks("test_reading_again_gives_the_same")
class DatasetThatChanges(GoodDataset):
    """Good otherwise."""

    loads: ClassVar[list[int]] = []

    def make(self, **changes: Any) -> sslkit.Split:
        self.loads.append(1)
        return super().make(labels=(torch.arange(10) + len(self.loads) // 2) % 2)


@breaks("test_it_uses_no_global_randomness")
class DatasetThatDraws(GoodDataset):
    """Good otherwise."""

    def make(self, **changes: Any) -> sslkit.Split:
        random.random()
        return super().make()


def test_what_is_good_keeps_every_promise(broken) -> None:
    assert broken("dataset", GoodDataset) == {}


@pytest.mark.parametrize(("promise", "mutant"), MUTANTS, ids=lambda value: getattr(value, "__name__", None))
def test_a_mutant_breaks_its_promise_and_no_other(promise: str, mutant: type, broken) -> None:
    found = broken("dataset", mutant)
    assert list(found) == [promise.removeprefix("test_").replace("_", " ")], found


def test_every_promise_has_a_mutant(promised) -> None:
    assert promised("dataset") <= {promise for promise, _ in MUTANTS}
