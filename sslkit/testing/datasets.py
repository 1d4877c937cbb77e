"""What is promised of data sets."""

from __future__ import annotations

from typing import ClassVar

import torch

from sslkit.contracts.dataset import IGNORE_INDEX, Dataset, Split
from sslkit.errors import DataError
from sslkit.testing.base import ComponentTests, no_global_randomness, require

MOST = 256
"""Images of a split that are looked at."""


class DatasetTests(ComponentTests):
    """Subclass with ``component`` and, where needed, ``options``; images are read from where the options say."""

    component: ClassVar[type[Dataset]]

    slow = ComponentTests.slow | {
        "test_images_are_as_announced",
        "test_labels_are_places_in_the_class_names",
        "test_masks_are_places_in_their_names",
        "test_reading_again_gives_the_same",
        "test_global_random_state_is_not_used",
    }

    def build(self) -> Dataset:
        """The data set."""
        built: Dataset = self.make()
        return built

    def splits(self) -> list[tuple[str, Split]]:
        """Every split, read."""
        dataset = self.build()
        return [(name, dataset.load(name)) for name in dataset.splits]

    def test_there_is_something_to_train_on(self) -> None:
        splits = self.build().splits
        require("train" in splits, f"there must be a split 'train'; there are {', '.join(splits) or 'none'}")
        known = {"train", "validation", "test", "pretrain"}
        strange = [name for name in splits if name not in known]
        require(not strange, f"splits are called {', '.join(sorted(known))}, not {', '.join(strange)}")

    def test_a_split_that_is_not_there_is_refused(self) -> None:
        try:
            self.build().load("nothing-of-the-kind")
        except DataError:
            return
        raise AssertionError("load must raise DataError for a split that is not there")

    def test_images_are_as_announced(self) -> None:
        for name, split in self.splits():
            require(len(split.images) > 0, f"the split {name!r} is empty")
            count = min(len(split.images), MOST)
            places = torch.linspace(0, len(split.images) - 1, count, dtype=torch.float64).round().long()
            images = split.images.gather(places)
            found, announced = (images.dtype, tuple(images.shape)), (torch.uint8, (count, *split.images.shape))
            require(found == announced, f"images of {name!r} are {found}, announced are {announced}")
            again = split.images.gather(places.flip(0))
            require(torch.equal(again.flip(0), images), "an image must be the same in whatever order it is fetched")

    def test_labels_are_places_in_the_class_names(self) -> None:
        for name, split in self.splits():
            if split.labels is None:
                continue
            require(split.labels.dtype == torch.int64, f"labels must be int64, not {split.labels.dtype}")
            classes = len(self.build().class_names)
            least, most = int(split.labels.min()), int(split.labels.max())
            right = least >= 0 and most < classes
            require(right, f"labels of {name!r} are {least} to {most}, but {classes} classes have names")

    def test_masks_are_places_in_their_names(self) -> None:
        for name, split in self.splits():
            if split.masks is None:
                continue
            require(split.masks.dtype == torch.uint8, f"masks must be uint8, not {split.masks.dtype}")
            known = split.masks[split.masks != IGNORE_INDEX]
            classes = len(self.build().mask_names)
            right = not len(known) or int(known.max()) < classes
            require(right, f"masks of {name!r} go to {int(known.max())}, but {classes} classes of pixels have names")

    def test_reading_again_gives_the_same(self) -> None:
        for (name, one), (_, other) in zip(self.splits(), self.splits(), strict=True):
            places = torch.arange(min(len(one.images), MOST))
            same = len(one.images) == len(other.images) and torch.equal(
                one.images.gather(places), other.images.gather(places)
            )
            if one.labels is not None and other.labels is not None:
                same = same and torch.equal(one.labels, other.labels)
            require(same, f"the split {name!r} must be the same whenever it is read")

    def test_global_random_state_is_not_used(self) -> None:
        with no_global_randomness("a data set"):
            self.splits()
