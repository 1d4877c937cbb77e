"""A finished run as evaluators receive it: frozen network, splits and cached features."""

from __future__ import annotations

import hashlib

from sslkit.assembly.build_component import build_dataset
from sslkit.contracts.backbone import Backbone
from sslkit.contracts.dataset import Dataset, Split
from sslkit.contracts.evaluator import CorrectedClasses, Features
from sslkit.data.checksum import checksum
from sslkit.data.splits import load_split, stratified_split
from sslkit.data.store import SubsetStore
from sslkit.errors import DataError
from sslkit.evaluation.corrected_classes import correct_classes
from sslkit.features.extraction import classify_features
from sslkit.runs.class_names import read_class_names
from sslkit.runs.run import Run
from sslkit.trained.network import NetworkWeights, TrainedNetwork


class RunSubject:
    """The network of a run and the data to evaluate it on.

    Args:
        run: a finished run.
        device: device on which features are computed.
        weights: weights to use; see ``TrainedNetwork``.
        other: name and data set to use instead of the run's own data set.

    Raises:
        RunError: the run has not finished, or its files are damaged.
        RecipeError: the data set or the backbone is not installed or has invalid options.
        InputError: the weights that training started from cannot be loaded.
    """

    def __init__(
        self,
        run: Run,
        device: str,
        *,
        weights: NetworkWeights = "trained",
        other: tuple[str, Dataset] | None = None,
    ) -> None:
        self.network = network = TrainedNetwork(run, device, weights=weights)
        self.notes, self.context, self.seed = network.notes, network.context, network.recipe.run.seed
        self.temperature = 1.0 if network.temperature is None else network.temperature
        self.other_data = other[0] if other else ""
        self.data_name, self.dataset = other or (network.recipe.data.entry.name, build_dataset(network.recipe))
        self.device = device
        self.weights: NetworkWeights = weights
        self.untrained = weights == "random"
        self._splits: dict[str, Split] = {}
        self._features: dict[str, Features] = {}

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names, in order of label; available after a split is loaded."""
        return self.dataset.class_names

    @property
    def mask_names(self) -> tuple[str, ...]:
        """Names of the pixel classes, in order of mask value, or an empty tuple if there are no masks."""
        return self.dataset.mask_names

    @property
    def discovered_names(self) -> tuple[str, ...]:
        """Name that the user gave each discovered class (``""`` for none), or an empty tuple if no class has a name.

        Raises:
            RunError: ``classes.toml`` is damaged.
        """
        classes = self.network.classes
        names = read_class_names(self.network.run, classes) if classes and self.weights == "trained" else None
        return names if names and any(names) else ()

    def backbone(self) -> Backbone:
        """Return the frozen backbone, in eval mode."""
        return self.network.backbone

    def split(self, split: str) -> Split:
        """Return the split ``train``, ``validation`` or ``test``.

        If the data set has no validation split, a fraction of the labelled training images of each class is used.

        Raises:
            DataError: the data set has no such split, or no labels for making a validation split, or the number of
                channels differs from that of the training images.
        """
        if split not in self._splits:
            images = self._load(split)
            channels, expected = images.images.shape[0], self.context.channels
            if channels not in (1, expected):  # grey images are repeated for each channel
                raise DataError(
                    f"the images of {self.data_name!r} have {channels} channels, but the run was trained on "
                    f"{expected}: set the data set's option channels, if it has one"
                )
            self._splits[split] = images
        return self._splits[split]

    def _load(self, split: str) -> Split:
        if split in self.dataset.splits and (split == "test" or "validation" in self.dataset.splits):
            return load_split(self.dataset, split)
        if split == "test":
            raise DataError(
                f"the data set {self.data_name!r} has no test images: evaluation needs images that were not trained on."
                " With class folders, `sslkit init DIR --labels folders --hold-out 0.2` keeps some of them for testing"
            )
        train = load_split(self.dataset, "train")
        if train.labels is None:
            if split == "train":
                return train
            raise DataError(f"the data set {self.data_name!r} has neither a validation split nor labels to make one")
        parts = stratified_split(train.labels, self.network.recipe.monitor.validation_fraction, self.seed)
        indices = parts[0 if split == "train" else 1]
        masks = None if train.masks is None else train.masks[indices]
        files = tuple(train.files[index] for index in indices.tolist()) if train.files else ()
        return Split(SubsetStore(train.images, indices), train.labels[indices], files=files, masks=masks)

    def corrected_classes(self, split: str) -> CorrectedClasses | None:
        """Return a split's classes after the user's corrections, or None if there are no corrections and no merges.

        Also None if the network has no classifier, and for baselines.

        Raises:
            RunError: ``corrections.csv`` or ``classes.toml`` is damaged.
        """
        logits = self.features(split).logits
        if logits is None or self.weights != "trained":
            return None
        return correct_classes(self.network.run, self.dataset, self.split(split), logits, self.temperature)

    def checksum(self, split: str) -> str:
        """Return a checksum of the pixels and labels of a split."""
        images = self.split(split)
        digest = hashlib.sha256(checksum(images.images).encode())
        if images.labels is not None:
            digest.update(images.labels.cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def features(self, split: str) -> Features:
        """Return the features of a split and, if there is a classifier, the logits, computed on the first call."""
        if split not in self._features:
            network, images = self.network, self.split(split)
            features = network.frozen.features(images.images)
            head = network.head
            logits = None if head is None else classify_features(head, features, network.classifier)
            self._features[split] = Features(features, images.labels, logits)
        return self._features[split]
