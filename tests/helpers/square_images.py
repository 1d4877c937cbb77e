"""Data set of small grey images, with or without labels in each split."""

from __future__ import annotations

from collections.abc import Collection

import torch

import sslkit
from sslkit.contracts import options

SIZES = {"train": 48, "validation": 16, "test": 24}


class Squares(sslkit.Dataset):
    """Images with a bright square in one of four corners; the corner is the class."""

    api = 2

    class Options(options.Options):
        made: tuple[str, ...] = ("train", "test")
        """Names of the splits of the data set."""
        labelled: tuple[str, ...] = ("train", "test")
        """Names of the splits with labels."""
        classes: dict[str, int] = {}
        """Number of classes of each split; 4 for missing splits."""
        first: int = 0
        """Smallest label."""

    options: Options

    @property
    def splits(self) -> tuple[str, ...]:
        return self.options.made

    def load(self, split: str) -> sslkit.Split:
        if split not in self.splits:
            raise sslkit.DataError(f"there is no split {split!r}")
        generator = torch.Generator().manual_seed(list(SIZES).index(split))
        corners = torch.arange(SIZES[split]) % self.options.classes.get(split, 4)
        images = torch.randint(0, 100, (len(corners), 1, 8, 8), generator=generator)
        for image, corner in zip(images, corners.tolist(), strict=True):
            row, column = divmod(corner, 2)
            image[0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 150
        labels = corners + self.options.first if split in self.options.labelled else None
        return sslkit.Split(sslkit.TensorStore(images.to(torch.uint8)), labels)


def squares(made: Collection[str], labelled: Collection[str]) -> Squares:
    """Return the data set with these splits, of which some have labels."""
    return Squares(Squares.Options(made=tuple(made), labelled=tuple(labelled)))
