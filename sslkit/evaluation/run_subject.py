"""A finished run as evaluators see it: frozen network, splits, features computed once."""

from __future__ import annotations

import hashlib
from typing import Any

from torch import Tensor, nn

from sslkit.assembly.build_component import build_dataset
from sslkit.contracts.backbone import Backbone
from sslkit.contracts.dataset import Dataset, Split
from sslkit.contracts.evaluator import Features
from sslkit.data.checksum import checksum
from sslkit.data.splits import Subset, labelled, stratified
from sslkit.device.hardware import device_name
from sslkit.errors import DataError
from sslkit.runs.class_names import read_class_names
from sslkit.runs.run import Run
from sslkit.trained.feature_cache import load_or_compute, name
from sslkit.trained.feature_extraction import extract_features
from sslkit.trained.network import TrainedNetwork


class RunSubject:
    """What a run learned, on the data it was trained on.

    Args:
        run: a finished run.
        device: where features are computed.
        untrained: the network with random weights, in place of the trained one.
        other: another data set than the run's own, and its name.

    Raises:
        RunError: the run has not finished, or its files are damaged.
        RecipeError: a component it needs is not installed.
    """

    def __init__(
        self, run: Run, device: str, *, untrained: bool = False, other: tuple[str, Dataset] | None = None
    ) -> None:
        self.run = run
        network = TrainedNetwork(run, device, untrained=untrained)
        self.metadata, self.recipe, self.notes = network.metadata, network.recipe, network.notes
        self.seed = self.recipe.run.seed
        self.other_data = other[0] if other else ""
        self.data_name, self.dataset = other or (self.recipe.data.entry.name, build_dataset(self.recipe))
        self.device = device
        self.untrained = untrained
        self.context = network.context
        self._backbone, self._identity = network.backbone, network.identity
        self.head_name, self.head, self.classifier = network.head_name, network.head, network.classifier
        self.classes = network.classes
        self.temperature = 1.0 if network.temperature is None else network.temperature
        self._splits: dict[str, Split] = {}
        self._features: dict[str, Features] = {}
        self.cache_notes: list[str] = []
        """What a user should know about features that were kept, in sentences."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in label order; known once a split is loaded."""
        return self.dataset.class_names

    @property
    def mask_names(self) -> tuple[str, ...]:
        """Names of the classes of pixels; empty where the data have no masks."""
        return self.dataset.mask_names

    @property
    def discovered_names(self) -> tuple[str, ...]:
        """Names that somebody gave to the classes of the run's classifier; empty where nobody named any.

        Raises:
            RunError: ``classes.toml`` is damaged.
        """
        names = read_class_names(self.run, self.classes) if self.classes and not self.untrained else None
        return names if names and any(names) else ()

    def backbone(self) -> Backbone:
        """The frozen backbone, in eval mode."""
        return self._backbone

    def split(self, split: str) -> Split:
        """The images of ``train``, ``validation`` or ``test``.

        A validation split that the data set does not have is cut from the labelled training images, class by class.

        Raises:
            DataError: there is no such split, no labels to cut it by, or other channels than the network takes.
        """
        if split not in self._splits:
            found = self._load(split)
            channels, wanted = found.images.shape[0], self.context.channels
            if channels != wanted:
                raise DataError(
                    f"the images of {self.data_name!r} have {channels} channels, but the run was trained on {wanted}: "
                    "set the data set's channels, if it has that option"
                )
            self._splits[split] = found
        return self._splits[split]

    def _load(self, split: str) -> Split:
        name = self.data_name
        if split in self.dataset.splits and (split == "test" or "validation" in self.dataset.splits):
            return labelled(self.dataset, split)
        if split == "test":
            raise DataError(
                f"the data set {name!r} has no test images: this evaluation needs some that training has not seen"
            )
        train = labelled(self.dataset, "train")
        if train.labels is None:
            if split == "train":
                return train
            raise DataError(f"the data set {name!r} has no labels to cut a validation split by")
        pieces = stratified(train.labels, self.recipe.monitor.validation_fraction, self.seed)
        places = pieces[0 if split == "train" else 1]
        masks = None if train.masks is None else train.masks[places]
        files = tuple(train.files[place] for place in places.tolist()) if train.files else ()
        return Split(Subset(train.images, places), train.labels[places], files=files, masks=masks)

    def digest(self, split: str) -> str:
        """A checksum of a split's pixels and labels, by which metrics on other images can be told apart."""
        found = self.split(split)
        digest = hashlib.sha256(checksum(found.images).encode())
        if found.labels is not None:
            digest.update(found.labels.cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def features(self, split: str) -> Features:
        """Features of a split, and logits of the run's classifier where it has one; computed once and kept on disk."""
        if split not in self._features:
            chosen = self.split(split)
            preparation: dict[str, Any] = {
                "size": self.metadata["image_size"],
                "mean": tuple(self.metadata["mean"]),
                "std": tuple(self.metadata["std"]),
            }

            def compute() -> dict[str, Tensor]:
                made = extract_features(
                    self._backbone, chosen.images, **preparation, head=self.head, classifier=self.classifier
                )
                return {"features": made.features, **({} if made.logits is None else {"logits": made.logits})}

            networks: list[nn.Module] = [self._backbone, *([] if self.head is None else [self.head])]
            where = {"classifier": self.classifier, "device": device_name(self.device)}
            depends = preparation | self._identity | where
            found = load_or_compute(name(networks, chosen.images, depends), compute, self.cache_notes)
            self._features[split] = Features(found["features"], chosen.labels, found.get("logits"))
        return self._features[split]
