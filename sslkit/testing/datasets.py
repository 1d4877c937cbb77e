"""Conformance tests for data sets."""

from __future__ import annotations

from typing import ClassVar

import torch

from sslkit.contracts.dataset import IGNORE_INDEX, Dataset, Split
from sslkit.data.splits import evenly_spaced_indices
from sslkit.errors import DataError
from sslkit.testing.base import ComponentTests, no_global_randomness, require

MAX_IMAGES = 256
"""Largest number of images that are tested in a split."""


class DatasetTests(ComponentTests):
    """Conformance tests that read the images of a data set. Set ``component`` and, if needed, ``options``."""

    component: ClassVar[type[Dataset]]
    draws_weights = False

    slow = ComponentTests.slow | {
        "test_images_match_the_announced_shape",
        "test_labels_are_indices_of_class_names",
        "test_masks_are_indices_of_mask_names",
        "test_loading_is_repeatable",
        "test_global_random_state_is_not_used",
    }

    def build(self) -> Dataset:
        """Build the data set."""
        dataset: Dataset = self.make()
        return dataset

    def splits(self) -> list[tuple[str, Split]]:
        """Load every split and return (name, split) pairs."""
        dataset = self.build()
        splits = [(name, dataset.load(name)) for name in dataset.splits]
        for name, split in splits:
            found = type(split).__name__
            require(isinstance(split, Split), f"load({name!r}) must return an sslkit.Split, not of type {found}")
        return splits

    def test_splits_include_train(self) -> None:
        splits = self.build().splits
        require("train" in splits, f"there must be a split 'train'; there are {', '.join(splits) or 'none'}")
        known = {"train", "validation", "test", "pretrain"}
        unknown = [name for name in splits if name not in known]
        require(not unknown, f"splits must be called {', '.join(sorted(known))}, not {', '.join(unknown)}")

    def test_missing_splits_raise_data_error(self) -> None:
        try:
            self.build().load("no-such-split")
        except DataError:
            return
        raise AssertionError("load must raise DataError for a split that does not exist")

    def test_images_match_the_announced_shape(self) -> None:
        for name, split in self.splits():
            require(len(split.images) > 0, f"the split {name!r} is empty")
            count = min(len(split.images), MAX_IMAGES)
            indices = evenly_spaced_indices(len(split.images), count)
            images = split.images.gather(indices)
            actual, announced = (images.dtype, tuple(images.shape)), (torch.uint8, (count, *split.images.shape))
            require(actual == announced, f"images of {name!r} are {actual}, but {announced} is announced")
            backwards = split.images.gather(indices.flip(0))
            require(torch.equal(backwards.flip(0), images), "an image must not depend on the order of the indices")

    def test_labels_are_indices_of_class_names(self) -> None:
        for name, split in self.splits():
            if split.labels is None or not len(split.labels):
                continue
            require(split.labels.dtype == torch.int64, f"labels must be int64, not {split.labels.dtype}")
            classes = len(self.build().class_names)
            smallest, largest = int(split.labels.min()), int(split.labels.max())
            valid = smallest >= 0 and largest < classes
            require(valid, f"labels of {name!r} are {smallest} to {largest}, but class_names has {classes} names")

    def test_masks_are_indices_of_mask_names(self) -> None:
        for name, split in self.splits():
            if split.masks is None:
                continue
            require(split.masks.dtype == torch.uint8, f"masks must be uint8, not {split.masks.dtype}")
            labelled = split.masks[split.masks != IGNORE_INDEX]
            classes = len(self.build().mask_names)
            valid = not len(labelled) or int(labelled.max()) < classes
            require(valid, f"masks of {name!r} go up to {int(labelled.max())}, but mask_names has {classes} names")

    def test_loading_is_repeatable(self) -> None:
        for (name, first), (_, second) in zip(self.splits(), self.splits(), strict=True):
            indices = torch.arange(min(len(first.images), MAX_IMAGES))
            same = len(first.images) == len(second.images) and torch.equal(
                first.images.gather(indices), second.images.gather(indices)
            )
            if first.labels is not None and second.labels is not None:
                same = same and torch.equal(first.labels, second.labels)
            require(same, f"the split {name!r} must be the same at every load")

    def test_global_random_state_is_not_used(self) -> None:
        dataset = self.build()
        with no_global_randomness("a data set"):
            for name in dataset.splits:
                dataset.load(name)
