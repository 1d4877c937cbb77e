"""All images of a run, with features, classes and labels, as ``sslkit explore`` shows them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sslkit.assembly.build_component import build_dataset
from sslkit.contracts.dataset import Dataset, ImageStore
from sslkit.data.datasets.image_folder import ImageFolder
from sslkit.data.splits import load_split
from sslkit.explore.network_outputs import NetworkOutputs, OnProgress, compute_outputs
from sslkit.recipe.load import load_data_recipe
from sslkit.runs.run import Run

SPLITS = ("train", "validation", "test", "pretrain")
"""Splits in the order in which their images are shown."""


@dataclass(frozen=True)
class RunImages(NetworkOutputs):
    """The N images of all splits of a run, and the network's outputs for them.

    Attributes:
        root: folder of the image files, or None if the images are not files.
        files: path of each image relative to ``root``, or an empty tuple if the images are not files.
        splits: name of each split.
        stores: images of each split.
        split: int64 ``[N]``, index of each image's split.
        labels: int64 ``[N]``, -1 for images without a label.
        label_names: names of the labels, or an empty tuple if no image has a label.
    """

    root: Path | None
    files: tuple[str, ...]
    splits: tuple[str, ...]
    stores: tuple[ImageStore, ...]
    split: Tensor
    labels: Tensor
    label_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.split)

    @property
    def classes(self) -> int:
        """Number of discovered classes K."""
        return self.logits.shape[1]

    def backbone_features(self, indices: Tensor) -> Tensor:
        """Return the features before L2 normalisation, float32 ``[M, D]``, of the images with indices ``[M]``."""
        return self.features[indices] * self.norms[indices]

    def position(self, index: int) -> tuple[int, int]:
        """Return the split of an image, and the index of the image in this split."""
        number = int(self.split[index])
        return number, index - sum(len(store) for store in self.stores[:number])

    def pixels(self, index: int) -> Tensor:
        """Return the stored pixels of an image, uint8 ``[C, H, W]``."""
        split, position = self.position(index)
        return self.stores[split].gather(torch.tensor([position]))[0].cpu()

    def name(self, index: int) -> str:
        """Return the file of an image, or its split and index if it is not a file."""
        if self.files:
            return self.files[index]
        split, position = self.position(index)
        return f"{self.splits[split]} image {position}"


def load_run_images(run: Run, device: str, on_progress: OnProgress) -> RunImages:
    """Load the images of all splits of a finished run, and compute their features, from the cache if possible.

    Raises:
        RunError: the run has not finished, has no classifier, or its files are damaged.
        DataError: the images are missing.
        RecipeError: the data set or the backbone is not installed or has invalid options.
    """
    dataset = build_dataset(load_data_recipe(run.recipe))
    names = tuple(name for name in SPLITS if name in dataset.splits)
    splits = []
    for number, name in enumerate(names):
        on_progress("reading images", number, len(names))
        splits.append(load_split(dataset, name))
    stores = tuple(split.images for split in splits)
    outputs = compute_outputs(run, stores, device, on_progress)
    counts = torch.tensor([len(store) for store in stores])
    label = torch.cat(
        [split.labels if split.labels is not None else torch.full((len(split.images),), -1) for split in splits]
    )
    files = tuple(file for split in splits for file in split.files)
    label_names = dataset.class_names or tuple(map(str, range(int(label.max()) + 1)))
    root = _root(dataset) if len(files) == int(counts.sum()) else None
    return RunImages(
        root=root,
        files=files if root is not None else (),
        splits=names,
        stores=stores,
        split=torch.arange(len(names)).repeat_interleave(counts),
        labels=label,
        label_names=label_names if bool((label >= 0).any()) else (),
        **vars(outputs),
    )


def _root(dataset: Dataset) -> Path | None:
    """Return the folder of a data set's files, or None if it is unknown."""
    return dataset.options.root if isinstance(dataset, ImageFolder) else None
