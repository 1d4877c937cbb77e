"""Mutants of data sets: every conformance test fails for a component that violates it."""

from __future__ import annotations

import random
from typing import Any, ClassVar

import torch
from mutants import Mutants, MutantTests
from torch import Tensor

import sslkit

MUTANTS = Mutants()


class ValidDataset(sslkit.Dataset):
    """Valid data set of ten grey images."""

    api = 2
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
            **{"images": sslkit.TensorStore(images), "labels": torch.arange(10) // 5, "masks": masks} | changes
        )


@MUTANTS.fails("test_splits_include_train")
class DatasetWithoutTrain(ValidDataset):
    splits = ("test",)


@MUTANTS.fails("test_missing_splits_raise_data_error")
class DatasetThatAcceptsAnySplit(ValidDataset):
    def load(self, split: str) -> sslkit.Split:
        return self.make()


class _OrderIgnoringStore(sslkit.TensorStore):
    def gather(self, index: Tensor) -> Tensor:
        return self.images[: len(index)]


@MUTANTS.fails("test_images_match_the_announced_shape")
class DatasetThatIgnoresTheOrder(ValidDataset):
    def make(self, **changes: Any) -> sslkit.Split:
        valid = super().make()
        return super().make(images=_OrderIgnoringStore(valid.images.images))


@MUTANTS.fails("test_labels_are_indices_of_class_names")
class DatasetWithUnnamedClass(ValidDataset):
    def make(self, **changes: Any) -> sslkit.Split:
        return super().make(labels=torch.arange(10) // 4)


@MUTANTS.fails("test_masks_are_indices_of_mask_names")
class DatasetWithUnnamedMaskClass(ValidDataset):
    def make(self, **changes: Any) -> sslkit.Split:
        return super().make(masks=torch.full((10, 4, 4), 2, dtype=torch.uint8))


@MUTANTS.fails("test_loading_is_repeatable")
class DatasetThatChangesBetweenLoads(ValidDataset):
    loads: ClassVar[list[int]] = []

    def make(self, **changes: Any) -> sslkit.Split:
        self.loads.append(1)
        return super().make(labels=(torch.arange(10) + len(self.loads) // 2) % 2)


@MUTANTS.fails("test_global_random_state_is_not_used")
class DatasetThatUsesGlobalRandomnessGlobally(ValidDataset):
    def make(self, **changes: Any) -> sslkit.Split:
        random.random()
        return super().make()


@MUTANTS.fails("test_constructor_neither_seeds_nor_draws_except_for_initial_weights")
class DatasetThatDrawsInItsConstructor(ValidDataset):
    def __init__(self, options: Any) -> None:
        super().__init__(options)
        torch.rand(1)


@MUTANTS.fails("test_constructor_neither_seeds_nor_draws_except_for_initial_weights")
class DatasetThatSeedsPythonInItsConstructor(ValidDataset):
    def __init__(self, options: Any) -> None:
        super().__init__(options)
        random.seed(0)


class TestMutants(MutantTests):
    kind = "dataset"
    valid = (ValidDataset,)
    mutants = MUTANTS
