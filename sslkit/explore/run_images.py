"""All images of a run, with features, classes and labels, as ``sslkit explore`` shows them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sslkit.assembly.build_component import build_dataset
from sslkit.contracts.dataset import Dataset, ImageStore
from sslkit.data.datasets.image_folder import ImageFolder
from sslkit.data.splits import load_split
from sslkit.errors import RunError
from sslkit.features.extraction import classify_features
from sslkit.features.recurring_classes import recurring_classes
from sslkit.runs.run import Run
from sslkit.trained.network import TrainedNetwork

OnProgress = Callable[[str, int, int], None]
"""Function that is called with a stage, the number of completed items and the number of all items."""

SPLITS = ("train", "validation", "test", "pretrain")
"""Splits in the order in which their images are shown."""


BLOCK = 8192
"""Number of features that are normalised at a time."""


@dataclass(frozen=True)
class RunImages:
    """The N images of all splits of a run.

    Attributes:
        root: folder of the image files; None if the images are not files.
        files: path of each image relative to ``root``; empty if the images are not files.
        splits: name of each split.
        stores: images of each split.
        split: int64 ``[N]``, index of each image's split.
        labels: int64 ``[N]``, -1 for images without a label.
        label_names: names of the labels; empty if no image has a label.
        features: L2-normalised features, float32 ``[N, D]``.
        norms: L2 norms of the features before the normalisation, float32 ``[N, 1]``.
        logits: class logits, float32 ``[N, K]``.
        temperature: temperature of the class probabilities softmax(logits / temperature).
        stability: float32 ``[K]``, share of the head's other classifiers that also find the class; None if there are no
            other classifiers.
        notes: sentences about the network and the data, for the user.
    """

    root: Path | None
    files: tuple[str, ...]
    splits: tuple[str, ...]
    stores: tuple[ImageStore, ...]
    split: Tensor
    labels: Tensor
    label_names: tuple[str, ...]
    features: Tensor
    norms: Tensor
    logits: Tensor
    temperature: float
    stability: Tensor | None
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.split)

    @property
    def classes(self) -> int:
        """Number of discovered classes K."""
        return self.logits.shape[1]

    def backbone_features(self, indices: Tensor) -> Tensor:
        """Return the features of images as the backbone computes them, float32 ``[M, D]``, for indices ``[M]``."""
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
    """Load the images of all splits of a finished run, and compute their features, from the feature cache if possible.

    Raises:
        RunError: the run has not finished, has no classifier, or its files are damaged.
        DataError: the images are missing.
        RecipeError: the data set or the backbone is not installed or has invalid options.
    """
    network = TrainedNetwork(run, device)
    if network.head is None or not network.classes:
        raise RunError(f"{run.name} has no classes to explore: its network has no classifier")
    dataset = build_dataset(network.recipe)
    names = tuple(name for name in SPLITS if name in dataset.splits)
    splits = []
    for number, name in enumerate(names):
        on_progress("reading images", number, len(names))
        splits.append(load_split(dataset, name))
    total, before = sum(len(split.images) for split in splits), 0
    parts = []
    for split in splits:
        start = before
        network.frozen.on_progress = lambda done, _, start=start: on_progress("computing features", start + done, total)
        parts.append(network.frozen.features(split.images))
        before += len(split.images)
    on_progress("assigning classes", 0, 1)
    logits, stability = _classify(network, parts)
    features = torch.cat(parts)
    norms = torch.empty(total, 1)
    for block, lengths in zip(features.split(BLOCK), norms.split(BLOCK), strict=True):
        torch.linalg.vector_norm(block, dim=1, keepdim=True, out=lengths)
        block /= lengths.clamp_(min=1e-12)  # in place, because the features may take half of the memory
    labels = [split.labels if split.labels is not None else torch.full((len(split.images),), -1) for split in splits]
    files = tuple(file for split in splits for file in split.files)
    label = torch.cat(labels)
    label_names = dataset.class_names or tuple(map(str, range(int(label.max()) + 1)))
    root = _root(dataset) if len(files) == total else None
    return RunImages(
        root=root,
        files=files if root is not None else (),
        splits=names,
        stores=tuple(split.images for split in splits),
        split=torch.arange(len(names)).repeat_interleave(torch.tensor([len(split.images) for split in splits])),
        labels=label,
        label_names=label_names if bool((label >= 0).any()) else (),
        features=features,
        norms=norms,
        logits=logits,
        temperature=1.0 if network.temperature is None else network.temperature,
        stability=stability,
        notes=(*network.notes, *network.frozen.notes),
    )


def _root(dataset: Dataset) -> Path | None:
    """Return the folder of a data set's files; None if it is unknown."""
    return dataset.options.root if isinstance(dataset, ImageFolder) else None


def _classify(network: TrainedNetwork, features: list[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Return the logits ``[N, K]``, and the share of the head's other classifiers that find each class, ``[K]``."""
    head = network.head
    assert head is not None

    def logits_of(classifier: int) -> Tensor:
        parts = [classify_features(head, part, classifier) for part in features]
        return torch.cat([part for part in parts if part is not None])

    logits = logits_of(network.classifier)
    others = [
        logits_of(index).argmax(1)
        for index, count in enumerate(head.classifiers)
        if index != network.classifier and count == network.classes
    ]
    return logits, recurring_classes(logits.argmax(1), others, network.classes) if others else None
