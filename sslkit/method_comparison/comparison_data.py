"""Data set of a comparison."""

from __future__ import annotations

from sslkit.assembly.assemble import training_images
from sslkit.assembly.build_component import build_dataset
from sslkit.data.checksum import checksum
from sslkit.data.splits import load_split
from sslkit.errors import DataError
from sslkit.recipe.recipe import Recipe


class ComparisonData:
    """The data set of a comparison: checksum of its training images, and size of its splits.

    Raises:
        DataError: there are no labelled test images.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.name = recipe.data.entry.name
        dataset = build_dataset(recipe)
        test = load_split(dataset, "test") if "test" in dataset.splits else None
        if test is None or test.labels is None:
            raise DataError(
                f"methods are compared by their accuracy on test images, but the data set {self.name!r} has no "
                f"{'test images' if test is None else 'labels of test images'}. With class folders, `sslkit init DIR "
                "--labels folders --hold-out 0.2` writes a recipe with labelled test images; name it with --data"
            )
        images = training_images(dataset)
        self.training_images, self.test_images = len(images), len(test.images)
        self.shape = list(images.shape)
        self.checksum = checksum(images)
